"""The nearest known name to an unknown one (contract §2.6)."""

from collections.abc import Iterable, Mapping


def distance(one: str, two: str, most: int) -> int:
    """Levenshtein distance in code points, or `most` + 1 if it is greater than `most`."""
    if abs(len(one) - len(two)) > most:
        return most + 1
    row = list(range(len(two) + 1))
    for i, left in enumerate(one, start=1):
        above, row[0] = row[0], i
        for j, right in enumerate(two, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def nearest(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """The known name within 2 edits (3 beyond 8 letters) ignoring case, or what an alias stands for; else None.

    `aliases` maps lower-case spellings, such as CSV headers, to known names.
    """
    lower = name.lower()[:200]
    if aliases and lower in aliases:
        return aliases[lower]
    most = 3 if len(name) > 8 else 2
    ranked = min(((distance(lower, each.lower(), most), each) for each in known), default=(most + 1, ""))
    return ranked[1] if ranked[0] <= most else None
