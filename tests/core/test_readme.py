"""README's settings table and the settings file name the same things."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

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


def _told_defaults() -> dict[str, str]:
    """Name → default of the rows of README that give one in code type for each name."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## Settings")[2].partition("## Read on")[0]
    found: dict[str, str] = {}
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        names, defaults = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
        if len(names) == len(defaults) and "from " not in line.split("|")[2]:
            found |= zip(names, defaults, strict=True)
    return found


def _read_defaults() -> dict[str, Any]:
    """Name → default of `core/settings.py`, where it is a constant."""
    found: dict[str, Any] = {}
    for call in ast.walk(ast.parse((ROOT / "core" / "settings.py").read_text("utf-8"))):
        if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
            continue
        for keyword in call.keywords:
            if keyword.arg == "default" and not any(isinstance(each, ast.Name) for each in ast.walk(keyword.value)):
                expression = ast.Expression(keyword.value)
                found[str(call.args[0].value)] = eval(compile(expression, "settings", "eval"), {})
    return found


def test_defaults_are_those_readme_tells() -> None:
    """A limit, a time or a word that a contract gives as default is in both places, and the same."""
    told, read = _told_defaults(), _read_defaults()
    compared = {name: read[name] for name in told if isinstance(read.get(name), (bool, int, float, str))}
    assert len(compared) > 80
    for name, default in compared.items():
        if isinstance(default, bool):
            assert told[name].lower() == str(default).lower(), name
        elif isinstance(default, (int, float)):
            assert float(told[name]) == default, name
        else:
            assert told[name] == default, name
