"""Building what is not the plain export: the same jobs, fences and stores, other content."""

from exports.jobs.derived.writing import write

__all__ = ["write"]
