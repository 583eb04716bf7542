"""What operators see and do (contract 3.4): downloads, the store, ingests, quotas, notifications."""

from downloads.admin import ingests, store, work

__all__ = ["ingests", "store", "work"]
