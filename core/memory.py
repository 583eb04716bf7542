"""How this process gives memory back to the system, and what it looks through for garbage."""

from __future__ import annotations

import ctypes
import gc

# malloc.h of the GNU C library
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

#: bytes from which a block is a mapping of its own, which goes back to the system as soon as it is freed
MAPPED_FROM = 256 * 1024
#: bytes that may lie free at the heap's end before they go back
KEPT_FREE = 1024 * 1024
ARENAS = 2


def keep_small() -> bool:
    """Free buffers go back to the system, in this process and its children; False where the C library has no such knob.

    Left alone, glibc raises the size from which blocks are mappings with each large one that is freed, and has an arena
    for every thread: a worker that moves 5 MiB parts then keeps several of them between its small objects. Seen in
    ``./run bench exports`` (55,000 and 250,000 rows): 17.5 MB above an idle worker instead of 23.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    knobs = ((_M_MMAP_THRESHOLD, MAPPED_FROM), (_M_TRIM_THRESHOLD, KEPT_FREE), (_M_ARENA_MAX, ARENAS))
    return all(mallopt(knob, value) == 1 for knob, value in knobs)


def settle() -> None:
    """What is loaded by now stays for good, so no collection of garbage looks through it again.

    Django and the apps are some hundred thousand objects, which a long job of many small ones would have visited again
    and again. Seen in a harvest of 600 documents by conditional GET, on a busy machine: one full collection took 0.33
    of the 0.53 seconds of CPU; with this there was none. A forked child also goes on sharing the pages with its parent.
    """
    gc.freeze()
