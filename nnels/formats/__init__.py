"""How titles, codes, files and queries are laid out: pure functions, no database."""
