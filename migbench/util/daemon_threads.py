"""Threads for other people's code: what they run can neither stop nor delay anything else."""

from __future__ import annotations

import concurrent.futures
from asyncio import CancelledError
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from migbench.errors import ModelError
from migbench.util.plain_text import describe

P = ParamSpec("P")
T = TypeVar("T")

CLOSING_SECONDS = 5.0
"""How long a call that is under way is waited for when its threads are closed."""

_NOT_CARRIED = (StopIteration, CancelledError, concurrent.futures.CancelledError)
"""Exceptions that mean something else to who waits for a future, or leave it waiting for ever."""


class DaemonThreads(ThreadPoolExecutor):
    """An executor whose threads keep nothing from ending, and whose futures always end.

    Threads are daemons: a call that never returns keeps neither the run nor the program alive. A
    future never brings what a coroutine cannot pass on (see `carried`). For `asyncio`, which wants
    a `ThreadPoolExecutor`, it is one by name; threads and queue are its own.
    """

    def __init__(self, most: int, name: str) -> None:
        """``most`` threads at most, each started when there is work for it."""
        super().__init__(most, name)
        self._most = most
        self._name = name
        self._guard = Lock()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._crew: list[Thread] = []
        self._unfinished = 0
        self._is_closed = False

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread make this call."""
        future: Future[T] = Future()
        with self._guard:
            if self._is_closed:
                raise RuntimeError("these threads were closed")
            self._unfinished += 1
            self._calls.put((future, lambda: call(*args, **kwargs)))
            if len(self._crew) < min(self._most, self._unfinished):
                number = len(self._crew)
                thread = Thread(target=self._serve, name=f"{self._name}-{number}", daemon=True)
                self._crew.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; see `close` for how long it waits."""
        self.close(CLOSING_SECONDS if wait else 0.0, cancel=cancel_futures)

    def close(self, seconds: float = CLOSING_SECONDS, *, cancel: bool = False) -> bool:
        """Take no more calls, and wait so long for those under way: whether all have ended.

        With ``cancel`` those that have not begun are cancelled.
        """
        with self._guard:
            self._is_closed = True
        if cancel:
            with suppress(Empty):
                while True:
                    if (waiting := self._calls.get_nowait()) is not None:
                        waiting[0].cancel()
        for _ in self._crew:
            self._calls.put(None)
        deadline = monotonic() + seconds
        for thread in self._crew:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._crew)

    def _serve(self) -> None:
        while (taken := self._calls.get()) is not None:
            future, call = taken
            if future.set_running_or_notify_cancel():
                try:
                    result = carrying(call)
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            with self._guard:
                self._unfinished -= 1
            del taken, future, call  # What they hold (a model's tensors) is free until the next.


def carrying(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make the call; whatever it raises becomes an exception that a future can bring."""
    try:
        return call(*args, **kwargs)
    # In a thread not even KeyboardInterrupt is the user's: that one arrives in the main thread.
    except BaseException as error:
        raise carried(error)  # noqa: B904, the cause is set where there is one


def carried(error: BaseException) -> Exception:
    """The error itself, or in its place a `ModelError` with its words, of which it is the cause.

    A future refuses StopIteration, so that who waits for it waits for ever. CancelledError means
    that the waiting one was cancelled, GeneratorExit ends the coroutines that get it, and
    SystemExit the event loop.
    """
    kind = type(error)
    if issubclass(kind, Exception) and not issubclass(kind, _NOT_CARRIED):
        return error  # type: ignore[return-value]
    failure = ModelError(describe(error))
    failure.__cause__ = error
    return failure
