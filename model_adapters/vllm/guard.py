"""Ends vLLM's processes when the process that started them is killed.

They would outlive it otherwise, and keep the GPU's memory from whoever goes on with the run. A
process of its own waits for that, in this file, run as a script: ``python guard.py PID...``. It
waits at a pipe, which the operating system closes with whoever holds the other end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["Guard"]

_ALL_IS_WELL = b"."


class Guard:
    """Kills the processes ``pids`` as soon as this process ends, unless `dismiss` came before."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", __file__, *map(str, pids)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the others, which end in their own way
        )

    def dismiss(self) -> None:
        """The processes have ended, or do so by themselves: nothing is to be killed."""
        with suppress(OSError):  # a watcher that is gone already
            self._watcher.communicate(_ALL_IS_WELL)


def _watch(pids: Iterable[int]) -> None:
    if sys.stdin.buffer.read() != _ALL_IS_WELL:
        for pid in pids:
            with suppress(OSError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _watch(map(int, sys.argv[1:]))
