"""One log shape for web, worker and commands: an event with keys, as a JSON line or for a terminal."""

from __future__ import annotations

import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

SECRET_KEYS = frozenset({"authorization", "access_token", "refresh_token", "password", "secret", "token", "cookie"})
# Secrets that may stand in a path or query: NNELS refresh tokens, reveal and reset links, one-time links, query
# tokens, S3 signatures.
SECRET_TEXT = re.compile(
    r"(/refresh-token/|/reveal/|/verify/|/exports/dl/|/password/reset/[^\s/]+/"
    r"|[?&](?:access[_-]token|X-Amz-Signature|X-Amz-Credential|token|client_secret)=)[^\s/&?\"']+"
)


def mask_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace the values of secret keys, and secrets inside paths and URLs, by ``***``."""
    for key, value in event.items():
        if key.lower() in SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = SECRET_TEXT.sub(r"\1***", value)
    return event


def configure(*, level: str, style: str) -> dict[str, Any]:
    """Set structlog up and return Django's LOGGING, both ending in the same renderer (``style``: json | console)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            # Refusals are in the request log line of core.middleware already; this adds what crashed.
            "django.request": {"level": "ERROR", "propagate": True},
            "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
            "botocore": {"level": "WARNING", "propagate": True},
            "urllib3": {"level": "ERROR", "propagate": True},
        },
    }
