"""One class per resource: parse, one domain call, render."""
