"""Byte layouts: what comes in (listings, CSW, ISO records) and what goes out (WAF pages, reports). Pure, no ORM."""
