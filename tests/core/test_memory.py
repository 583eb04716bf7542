"""Freed buffers go back to the system."""

import subprocess
import sys

# Blocks below the size that an earlier, larger one has taught the C library, each followed by a small one that stays.
LOOK = """
import pathlib
from core import memory

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

if {small}:
    assert memory.keep_small()
del (large := [bytearray(20 << 20)])[:]
before = resident()
held = [(bytearray(1 << 20), bytearray(5000)) for _ in range(60)]
stays = [small for _, small in held]
del held
print((resident() - before) >> 20)
"""


def kept(*, small: bool) -> int:
    """MiB of sixty that a process still holds after it freed them."""
    argv = [sys.executable, "-c", LOOK.format(small=small)]
    return int(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout)


def test_freed_blocks_go_back_between_blocks_that_stay() -> None:
    """Left alone the C library would keep them all."""
    assert kept(small=True) < 10
    assert kept(small=False) > 40
