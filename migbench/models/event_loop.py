"""The event loop of a run: it runs until the run is over, whatever else runs in it.

An adapter starts tasks, threads and callbacks of its own. What they raise reaches who awaits them,
and ends nothing. Only the user ends a run early, by Ctrl-C, and that even where an adapter keeps
the loop busy, swallows its cancellation or never returns from a thread.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from migbench.errors import AdapterError, Interrupted
from migbench.util.daemon_threads import DaemonThreads, carrying

T = TypeVar("T")

STOPPING_SECONDS = 5.0
"""How long tasks may take to end once they are cancelled, and the loop to hear of Ctrl-C."""

_THREADS = 32


class EventLoop:
    """Runs coroutines to their end, one after another, in one loop that `close` ends."""

    def __init__(self) -> None:
        """Make the loop; nothing runs in it yet."""
        self._loop = _Loop()
        self._main: asyncio.Task[Any] | None = None
        self._is_interrupted = False
        self._loop.set_default_executor(DaemonThreads(_THREADS, "worker"))

    def __enter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the loop."""
        self.close()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What ``main`` returns, or raises.

        At Ctrl-C it is cancelled; when it has ended, or at a second Ctrl-C, `Interrupted` (a
        KeyboardInterrupt) is raised. Raises `AdapterError` where somebody else cancelled it.
        """
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(main)
        self._main = task
        if self._is_interrupted:
            task.cancel()
        task.add_done_callback(lambda _: self._loop.stop())
        try:
            with _ctrl_c(self._loop, task) as is_interrupted:
                self._run_until_done(task)
            if is_interrupted() or self._is_interrupted:
                raise Interrupted
            if task.cancelled():
                raise AdapterError(
                    "the adapter has cancelled all tasks, and the run with them; the same command "
                    "goes on from here"
                )
            return task.result()
        finally:
            asyncio.set_event_loop(None)

    def interrupt(self) -> None:
        """Do as Ctrl-C does; any thread may call it, at any time."""
        self._is_interrupted = True
        with suppress(RuntimeError):  # It is closed.
            self._loop.call_soon_threadsafe(self._cancel_main)

    def _cancel_main(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def close(self) -> None:
        """End what still runs in the loop, waiting no longer than `STOPPING_SECONDS`."""
        if self._loop.is_closed():
            return
        if left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            ending = self._loop.create_task(_wait(left))
            ending.add_done_callback(lambda _: self._loop.stop())
            self._run_until_done(ending)
        # Of tasks that go on all the same asyncio would say that they were destroyed.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._loop.close()

    def _run_until_done(self, task: asyncio.Task[Any]) -> None:
        while not task.done():
            try:
                self._loop.run_forever()
            except Interrupted:
                raise
            # From a task or a callback of the adapter's: it reaches who awaits that task.
            except (SystemExit, KeyboardInterrupt):
                continue


class Interruption:
    """Interrupts a run that goes on in another thread."""

    def __init__(self) -> None:
        """Nothing is interrupted yet."""
        self._guard = threading.Lock()
        self._loop: EventLoop | None = None
        self._is_wanted = False

    def watch(self, loop: EventLoop) -> None:
        """The run's loop is this one; it may have been interrupted before."""
        with self._guard:
            self._loop = loop
            if self._is_wanted:
                loop.interrupt()

    def interrupt(self) -> None:
        """End the run as Ctrl-C does."""
        with self._guard:
            self._is_wanted = True
            if self._loop is not None:
                self._loop.interrupt()


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose threads bring only what a coroutine can pass on."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call a function in an executor's thread or process, or in one of the loop's own."""
        return super().run_in_executor(executor, carrying, func, *args)


async def _wait(tasks: set[asyncio.Task[Any]]) -> None:
    ended, _ = await asyncio.wait(tasks, timeout=STOPPING_SECONDS)
    for task in ended:
        if not task.cancelled():
            task.exception()  # Taken note of: asyncio would report it, and the run is over.


@contextmanager
def _ctrl_c(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]
) -> Iterator[Callable[[], bool]]:
    """Cancel the task at Ctrl-C, and raise `Interrupted` at the next; says whether there was one.

    Where the loop does not hear of it, because an adapter keeps it busy, the next comes by itself.
    Outside of the main thread, and where somebody else handles SIGINT, nothing is done.
    """
    count = 0
    heard = threading.Event()
    main_thread = threading.main_thread()

    def cancel() -> None:
        heard.set()
        task.cancel()

    def insist() -> None:
        if not heard.wait(STOPPING_SECONDS) and main_thread.ident is not None:
            signal.pthread_kill(main_thread.ident, signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise Interrupted
        loop.call_soon_threadsafe(cancel)
        threading.Thread(target=insist, name="ctrl-c", daemon=True).start()

    handles = (
        threading.current_thread() is main_thread
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if handles:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: count > 0
    finally:
        heard.set()
        if handles and signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
