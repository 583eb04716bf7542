"""Which fields under which wire names: ``…In`` validates, the others render."""
