"""The portal: server-rendered pages for people, usable without scripts (contract 7)."""
