"""Realistic specimens for demo, tests and benchmarks: four archives as four kinds of providers would send them.

Deterministic for a seed; written row by row, so any size takes the same memory. No person in them is real.
"""

from downloads.formats.samples.archives import PROVIDERS, Provider, write_all

__all__ = ["PROVIDERS", "Provider", "write_all"]
