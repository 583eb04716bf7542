"""How the bytes of a download are laid out; pure, no ORM (contract §3.2, §3.3, §5)."""
