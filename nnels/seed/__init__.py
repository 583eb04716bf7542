"""Demo data: public-domain titles as valid EPUB 3, some also as TXT, BRF or DAISY 2.02; and synthetic bulk."""
