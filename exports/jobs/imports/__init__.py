"""Importing content: a first pass that only reads and checks, a second that writes in batches."""

from exports.jobs.imports.work import KIND, do, run_file

__all__ = ["KIND", "do", "run_file"]
