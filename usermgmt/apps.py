from __future__ import annotations

from core.apps import ApiConfig


class UsermgmtConfig(ApiConfig):
    name = "usermgmt"
    title = "CyVerse user management"
    verbose_name = "CyVerse user management"
    summary = "Finds people for registered API clients and adds services to accounts."
