"""Calling a simple adapter class, one that blocks, from threads."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from migbench.boundary import Failure, checked_answer
from migbench.errors import UsageError
from migbench.messages import Answer, Request

CLOSING_SECONDS = 5.0
"""How long a thread that still answers is waited for at the end of a run."""

_log = logging.getLogger(__name__)


class InThreads:
    """Gives a class with a plain ``answer(request)`` the full protocol, in ``capacity`` threads.

    The threads are daemons: one that never returns keeps neither the run nor the program from
    ending.
    """

    def __init__(self, name: str, plain: Any) -> None:
        """Start the threads. Raises `UsageError` where the class has no method ``answer``."""
        if not callable(getattr(plain, "answer", None)):
            raise UsageError(f"adapter {name}: its class needs a method answer(request)")
        self._name = name
        self._plain = plain
        self.capacity = int(getattr(plain, "capacity", 1))
        self.needs_images = bool(getattr(plain, "needs_images", True))
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._serve, name=f"adapter-{number}", daemon=True)
            for number in range(max(1, self.capacity))
        ]
        for thread in self._threads:
            thread.start()

    async def answer(self, request: Request) -> Answer:
        """What the class answers. Raises `Failure` for whatever it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | Failure] = loop.create_future()

        def settle(outcome: Answer | Failure) -> None:
            if not future.done():
                future.set_result(outcome)

        def ask() -> None:
            outcome = self._outcome(request)
            # The run may have ended meanwhile, and its loop with it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, outcome)

        self._work.put(ask)
        outcome = await future
        if isinstance(outcome, Failure):
            raise outcome
        return outcome

    async def close(self) -> None:
        """End the threads, then let the class release what it holds."""
        for _ in self._threads:
            self._work.put(None)
        deadline = monotonic() + CLOSING_SECONDS
        while any(thread.is_alive() for thread in self._threads):
            if monotonic() > deadline:
                _log.warning(
                    "adapter %s: a request has not come back; it is left behind", self._name
                )
                return
            await asyncio.sleep(0.01)
        close = getattr(self._plain, "close", None)
        result = close() if close else None
        if inspect.isawaitable(result):
            await result

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _outcome(self, request: Request) -> Answer | Failure:
        """The answer or the failure, as a value: no future takes every exception there is."""
        try:
            return checked_answer(self._plain.answer(request))
        # Not even KeyboardInterrupt is the user's here: that one arrives in the main thread.
        except BaseException as error:
            return Failure(error)
