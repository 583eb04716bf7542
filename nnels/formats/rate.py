"""Rate limits written as `5000/day`."""

import re

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def parse(text: str) -> tuple[int, int] | None:
    """(requests, seconds) of a limit, or None when it cannot be read."""
    match = re.fullmatch(r"\s*([1-9][0-9]{0,8})\s*/\s*(second|minute|hour|day)\s*", text)
    return (int(match[1]), _SECONDS[match[2]]) if match else None
