"""How this API's bytes are laid out: secrets, ranges, networks, answers, import files. Pure; no database."""
