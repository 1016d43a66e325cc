"""SIGTERM stops a command as Ctrl-C does: with answers, log and manifest in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from types import FrameType

from migbench.errors import Interrupted

TERMINATED = 128 + signal.SIGTERM
"""The exit status of what SIGTERM has ended, as shells give it."""


@dataclass
class Termination:
    """Whether SIGTERM has come."""

    received: bool = False


@contextmanager
def terminable() -> Iterator[Termination]:
    """Have SIGTERM interrupt the block as Ctrl-C would; only the main thread can."""
    termination = Termination()
    if current_thread() is not main_thread():
        yield termination
        return

    def stop(number: int, frame: FrameType | None) -> None:
        termination.received = True
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)  # asyncio has its own way of stopping on it.
        else:
            raise Interrupted  # Background jobs of a shell ignore SIGINT.

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
