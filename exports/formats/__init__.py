"""How the bytes of a terminology look: text, times, addresses, documents, archives. Pure, no ORM."""
