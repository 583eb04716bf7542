"""The one object of an export: header keys, then the arrays of finished rows (contract §5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SEPARATOR = ", "


@dataclass(frozen=True)
class Array:
    """One array: how many rows and how many bytes they have together."""

    name: str
    count: int = 0
    size: int = 0

    @property
    def length(self) -> int:
        """Bytes of the rows with the separators between them."""
        return self.size + len(SEPARATOR) * max(0, self.count - 1)


def opening(header: str, first: str | None) -> bytes:
    """Up to the first row of the first array; ``header`` is a finished object."""
    if first is None:
        return header.encode()
    joint = SEPARATOR if len(header) > 2 else ""
    return f'{header[:-1]}{joint}"{first}": ['.encode()


def between(name: str | None) -> bytes:
    """Between an array and the next, or behind the last."""
    return b"]}" if name is None else f'], "{name}": ['.encode()


def size(header: str, arrays: Sequence[Array]) -> int:
    """Bytes of the whole document."""
    names = [array.name for array in arrays]
    frame = len(opening(header, names[0] if names else None))
    frame += sum(len(between(name)) for name in [*names[1:], None]) if names else 0
    return frame + sum(array.length for array in arrays)


def joined(header: str, arrays: Sequence[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    """The document, block by block; each array comes as blocks of rows that begin with a separator."""
    names = [name for name, _ in arrays]
    yield opening(header, names[0] if names else None)
    for (_, blocks), following in zip(arrays, [*names[1:], None][: len(arrays)], strict=True):
        yield from unled(blocks)
        yield between(following)


def unled(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Take the separator off the front of the first block."""
    for block in blocks:
        yield block[len(SEPARATOR) :]
        break
    yield from blocks


def lines_size(header: str, arrays: Sequence[Array], *, whole: int) -> int:
    """Bytes of the same content as one object per line, from the counts and the size of the whole document."""
    rows = whole - size(header, [Array(array.name, array.count) for array in arrays])
    return len(header) + 1 + rows + sum(array.count for array in arrays)
