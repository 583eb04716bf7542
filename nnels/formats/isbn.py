"""ISBN-10 and ISBN-13 in any form to 13 digits (ISO 2108)."""

import re


def to_13(text: str) -> str | None:
    """Thirteen digits of a valid ISBN (`0-14-243724-7`, `ISBN 978 0142437247`, …), or None."""
    compact = re.sub(r"^(?:urn:isbn:|isbn(?:-1[03])?:?)", "", text.strip(), flags=re.IGNORECASE)
    compact = re.sub(r"[\s\u2010-\u2015-]", "", compact).upper()
    if re.fullmatch(r"[0-9]{13}", compact):
        return compact if compact[:3] in ("978", "979") and check_13(compact[:12]) == compact[12] else None
    if re.fullmatch(r"[0-9]{9}[0-9X]", compact):
        return _from_10(compact)
    return None


def check_13(twelve: str) -> str:
    """The check digit of the first twelve digits."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(twelve))
    return str(-total % 10)


def _from_10(ten: str) -> str | None:
    values = [10 if mark == "X" else int(mark) for mark in ten]
    if sum(value * (10 - place) for place, value in enumerate(values)) % 11:
        return None
    body = "978" + ten[:9]
    return body + check_13(body)
