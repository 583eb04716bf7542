"""How an app presents itself to the core.

The core knows no app; it walks over the installed ``ApiConfig``s and asks each for these few facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from django.apps import AppConfig, apps
from django.utils.module_loading import import_string


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from core import checks, tasks  # noqa: F401 - registers system checks and the core's own jobs


class ApiConfig(AppConfig):
    """One of the five APIs.

    ``title``, ``summary``: for the landing page.  ``pages``: (label, path) pairs linked from it.
    ``live_blobs``: dotted path of ``(keys: list[str]) -> set[str]``, the keys that are still referenced.
    ``metrics``: dotted path of ``() -> Iterator[prometheus_client.Metric]``, what ``/metrics`` asks at each scrape.
    ``invariants``: dotted path of ``() -> Iterator[str]``, a sentence for each breach; for ``manage.py doctor``.
    ``change_address``: dotted path of ``(user, address) -> None``, asks for an account's other e-mail address to be
    proven and then taken (see ``core.people``); one app has it.
    ``keeps_username``: dotted path of ``(user) -> str``, why an account cannot have another user name; empty if it can.
    ``seed_command``: management command that loads the demo data.
    ``demo_check``: dotted path of ``(base_url: str, credentials: dict[str, str]) -> str``; does one real request
    or job over HTTP and returns the line to print, raises when the answer is not right.
    ``demo_lines``: dotted path of ``(base_url: str, credentials: dict[str, str]) -> list[str]``, curl lines to print.
    """

    default = False  # Django must not take this base for the configuration of an app that imports it
    default_auto_field = "django.db.models.BigAutoField"
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    pages: ClassVar[list[tuple[str, str]]] = []
    live_blobs: ClassVar[str] = ""
    metrics: ClassVar[str] = ""
    invariants: ClassVar[str] = ""
    change_address: ClassVar[str] = ""
    keeps_username: ClassVar[str] = ""
    seed_command: ClassVar[str] = ""
    demo_check: ClassVar[str] = ""
    demo_lines: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.default = True

    def hook(self, name: str) -> Callable[..., Any] | None:
        """The callable behind one of the dotted paths above, or None when the app names none."""
        path = getattr(self, name)
        return import_string(path) if path else None


def api_configs() -> Iterator[ApiConfig]:
    """The installed APIs, in the order of ``INSTALLED_APPS``."""
    return (config for config in apps.get_app_configs() if isinstance(config, ApiConfig))
