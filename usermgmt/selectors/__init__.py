"""What can be asked: the directory search, the caller behind a key or token, the portal's lists."""
