"""The write path of content: everything here works in sets, under the repository's write lock, in the caller's
transaction. Both the API (a batch of one) and imports (batches of many) come through here."""
