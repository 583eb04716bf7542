"""Become another program that dies with its parent: `launch.py SIGNAL PARENT PROGRAM [ARGS]`.

Run with `python -I -S`, so it imports nothing that is not needed. SIGNAL is what the kernel sends to the program when
the thread that started it ends, by whatever means, kill -9 included (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process when the thread that forked it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def main() -> None:
    """Set the death signal, refuse when the parent is gone already, take the program's place."""
    death_signal, parent, *argv = sys.argv[1:]
    die_with_parent(int(death_signal))
    if os.getppid() != int(parent):
        sys.exit(f"the parent {parent} ended before {argv[0]} began")
    # The supervisor waits for its signals with the mask closed; its children must not inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(argv[0], argv)  # noqa: S606 - taking the program's place is the purpose


if __name__ == "__main__":
    main()
