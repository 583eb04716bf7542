"""What an operator sees: titles with their files, readers, tokens, issued links, imports. Plain forms."""

from nnels.admin import items, log, people

__all__ = ["items", "log", "people"]
