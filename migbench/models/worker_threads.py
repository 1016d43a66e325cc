"""Calling a simple adapter class, one that blocks, from threads."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from migbench.errors import UsageError
from migbench.messages import Answer, Request
from migbench.models.boundary import max_concurrency_of
from migbench.util.daemon_threads import CLOSING_SECONDS, DaemonThreads

_log = logging.getLogger(__name__)


class InThreads:
    """Gives a class with a plain ``answer(request)`` the full protocol.

    Its calls run in ``max_concurrency`` threads.
    """

    def __init__(self, name: str, plain: Any) -> None:
        """Raises `UsageError` where the class has no method ``answer``."""
        if not callable(getattr(plain, "answer", None)):
            raise UsageError(f"adapter {name}: its class needs a method answer(request)")
        self._name = name
        self._plain = plain
        self.max_concurrency = max_concurrency_of(plain)
        self.needs_images = getattr(plain, "needs_images", True)
        self._threads = DaemonThreads(self.max_concurrency, "adapter")

    @property
    def resizing(self) -> Any:
        """What the class says of its image processor, if anything."""
        return getattr(self._plain, "resizing", None)

    async def answer(self, request: Request) -> Answer:
        """What the class answers, as it answers it; raises what it raises."""
        loop = asyncio.get_running_loop()
        answer: Answer = await loop.run_in_executor(self._threads, self._plain.answer, request)
        return answer

    async def close(self) -> None:
        """End the threads, then let the class release what it holds.

        A class that still answers holds it, and is left alone.
        """
        threads = DaemonThreads(1, "closing")
        loop = asyncio.get_running_loop()
        has_ended = await loop.run_in_executor(
            threads, lambda: self._threads.close(CLOSING_SECONDS, cancel=True)
        )
        if not has_ended:
            _log.warning("adapter %s: a request has not come back; it is left behind", self._name)
            return
        close = getattr(self._plain, "close", None)
        # In a thread as well, since it may block; its loop is this one, if it is a coroutine.
        result = await loop.run_in_executor(threads, close) if close else None
        if inspect.isawaitable(result):
            await result
