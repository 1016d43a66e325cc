"""Names the requests that are under way for long; it ends none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

SLOW_AFTER = 300.0
"""Seconds after which a request that is under way is named, where nothing else is said."""

_OFTEN = 4
"""How many times within ``slow_after`` the requests are looked through."""


class Watchdog:
    """Reports every request that is under way for ``slow_after`` seconds, from a thread of its own.

    So it works where an adapter keeps the event loop busy. A request is named again when it has
    taken twice as long as when it was last named. ``report`` gets the question and the seconds.
    """

    def __init__(self, slow_after: float, report: Callable[[str, float], None]) -> None:
        """Watch nothing yet."""
        self._slow_after = slow_after
        self._report = report
        self._guard = Lock()
        self._under_way: dict[object, _UnderWay] = {}
        self._is_over = Event()
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Watch until the block ends."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Report nothing from now on."""
        self._is_over.set()
        self._thread.join(1.0)  # It may be held up by a terminal that takes nothing.

    @contextmanager
    def request(self, question: str) -> Iterator[None]:
        """A request about this question is under way."""
        key = object()
        with self._guard:
            self._under_way[key] = _UnderWay(question, monotonic(), self._slow_after)
        try:
            yield
        finally:
            with self._guard:
                del self._under_way[key]

    def _watch(self) -> None:
        while not self._is_over.wait(min(self._slow_after / _OFTEN, 60.0)):
            with self._guard:
                slow = [each.name_again() for each in self._under_way.values() if each.is_due()]
            for question, seconds in slow:
                # A report that cannot be written (a full disk, a closed terminal) costs nothing.
                with suppress(OSError, ValueError):
                    self._report(question, seconds)


class _UnderWay:
    """A request that is not answered yet."""

    def __init__(self, question: str, began: float, slow_after: float) -> None:
        self._question = question
        self._began = began
        self._next_after = slow_after

    def is_due(self) -> bool:
        return monotonic() - self._began >= self._next_after

    def name_again(self) -> tuple[str, float]:
        seconds = monotonic() - self._began
        self._next_after = 2 * seconds
        return self._question, seconds


def seconds_text(seconds: float) -> str:
    """A time as it is reported.

    >>> seconds_text(0.25), seconds_text(301.2)
    ('0.2 s', '301 s')
    """
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
