"""Waiting for a server that is down: one request is tried again and again, and all others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from migbench.models.boundary import Failure

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds for which a run waits for its server, where nothing else is said."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class OutOfPatience(Exception):
    """The server did not come back in time; the message is the last reason."""


class Patience:
    """Keeps a run's requests while the model's server is down.

    The first request that finds it down is tried again, in pauses that double, for ``seconds`` at
    most. The others wait meanwhile, those under way too, once they find the same. ``report`` gets
    the reason, the seconds until the next attempt and those that are left; None for a reason says
    that the server is back.
    """

    def __init__(self, seconds: float, report: Callable[[str | None, float, float], None]) -> None:
        """Wait for nothing yet."""
        self._seconds = seconds
        self._report = report
        self._up = asyncio.Event()
        self._up.set()
        self._end: OutOfPatience | None = None

    async def outlast(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the call gives, once the server is up. Raises its `Failure`, and `OutOfPatience`."""
        while True:
            await self._up.wait()
            if self._end is not None:
                raise self._end
            try:
                return await call()
            except Failure as failure:
                if not failure.server_is_down:
                    raise
                if self._up.is_set() and self._end is None:
                    return await self._try_again(call, failure)

    async def _try_again(self, call: Callable[[], Awaitable[T]], failure: Failure) -> T:
        self._up.clear()
        until = monotonic() + self._seconds
        pause = _FIRST_PAUSE
        try:
            while (left := until - monotonic()) > 0:
                self._report(failure.message, min(pause, left), left)
                await asyncio.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    result = await call()
                except Failure as other:
                    if not other.server_is_down:
                        self._report(None, 0.0, left)
                        raise
                    failure = other
                else:
                    self._report(None, 0.0, left)
                    return result
            self._end = OutOfPatience(failure.message)
            raise self._end
        finally:
            self._up.set()
