"""What can be done: tell who asks, hand out and refresh tokens, open titles, read the catalogue's files' fate."""
