"""What operators see of the registry: tables to look at and act on, and the pages that take files."""

from registry.admin import tables

__all__ = ["tables"]
