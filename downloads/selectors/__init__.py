"""What can be asked of the specimen store: the query language, its validation, hashes and SQL (contract §2.4-2.8)."""
