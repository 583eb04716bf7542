"""Reads Darwin Core Archives as providers send them (contract 6.2, 6.3): pure, streaming, trusting no name, no size.

`opened(path)` gives an `Archive`; its tables yield rows one by one, so memory does not grow with the file.
"""

from downloads.formats.archive_in.meta import Table
from downloads.formats.archive_in.reader import Archive, opened
from downloads.formats.archive_in.rows import Problem, Row
from downloads.formats.archive_in.sources import Limits, Unreadable

__all__ = ["Archive", "Limits", "Problem", "Row", "Table", "Unreadable", "opened"]
