"""What can be asked: rights, repositories, rows of a version and their documents, exports, imports."""
