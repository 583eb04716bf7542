"""README's settings table and the settings file name the same things."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_setting_is_in_readme_and_nothing_else_is() -> None:
    source = (ROOT / "core" / "settings.py").read_text("utf-8")
    read = set(re.findall(r'\b(?:env(?:\.\w+)?|secret)\(\s*"([A-Z][A-Z0-9_]+)"', source))
    section = (ROOT / "README.md").read_text("utf-8").partition("## Settings")[2].partition("## Read on")[0]
    told = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", line.split("|")[1])
    }
    assert told == read
