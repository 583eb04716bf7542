"""What can be asked: listings with filters and sorts, single items, keyword search, facets, accounts."""
