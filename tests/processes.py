"""What /proc says about processes."""

import pathlib


def fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from `state` on (proc(5)); empty when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def lives(pid: int) -> bool:
    """Whether the process runs; a dead one that nobody has waited for does not."""
    found = fields(pid)
    return bool(found) and found[0] != "Z"


def everything() -> list[int]:
    """All process ids."""
    return [int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*")]


def group(number: int) -> list[int]:
    """Living processes of a process group."""
    return [pid for pid in everything() if (found := fields(pid)) and int(found[2]) == number and found[0] != "Z"]


def children(pid: int) -> list[int]:
    """Living direct children, the oldest first."""
    return sorted(each for each in everything() if (f := fields(each)) and int(f[1]) == pid and f[0] != "Z")


def descendants(pid: int) -> list[int]:
    """Living processes below this one."""
    found = children(pid)
    for each in found:
        found.extend(children(each))
    return found


def find_child(pid: int, word: str) -> int:
    """The direct child with this word among its arguments; 0 when there is none."""
    for each in children(pid):
        try:
            told = pathlib.Path(f"/proc/{each}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in told:
            return each
    return 0
