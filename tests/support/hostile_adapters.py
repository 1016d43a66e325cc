"""Adapters that raise and return what no adapter should, by the number of the question.

Also loaded as a user's file: ``tests/support/hostile_adapters.py:Hostile``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from migbench.messages import Answer, Request

BOX = '{"bbox_2d": [100, 200, 500, 700]}'


class Mute(Exception):
    """Ends the program when it is asked what it says."""

    def __str__(self) -> str:
        raise SystemExit(3)


class SaysNothingElse(Exception):
    """Says a number."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class _NameRaises(type):
    @property
    def __name__(cls) -> str:
        raise RuntimeError("no name")


def name_raises(words: str) -> Exception:
    """An exception that does not say what it is; made late, as nothing else survives its class."""

    class NameRaises(Exception, metaclass=_NameRaises):
        pass

    return NameRaises(words)


class LiesAboutItsClass(Exception):
    """Fails whoever asks what it is an instance of."""

    def __str__(self) -> str:
        return "is it me?"

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no class")


class NotAnException(BaseException):
    """Passes by every ``except Exception``."""


class Shouting(str):
    """A text whose methods fail."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def encode(self, *arguments: Any, **keywords: Any) -> bytes:
        raise RuntimeError("no bytes")


def raised(call: Callable[[], object]) -> BaseException:
    """What the call raises."""
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


EXCEPTIONS: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: StopIteration("no more"), "StopIteration: no more"),
    (lambda: StopAsyncIteration("no more"), "StopAsyncIteration: no more"),
    (lambda: asyncio.CancelledError("theirs"), "CancelledError: theirs"),
    (lambda: SystemExit(1), "SystemExit: 1"),
    (lambda: GeneratorExit("closed"), "GeneratorExit: closed"),
    (lambda: KeyboardInterrupt("in a thread"), "KeyboardInterrupt: in a thread"),
    (lambda: MemoryError("no memory"), "MemoryError: no memory"),
    (lambda: RecursionError("too deep"), "RecursionError: too deep"),
    (Mute, "Mute: (its message cannot be shown: SystemExit)"),
    (lambda: NotAnException("base"), "NotAnException: base"),
    (lambda: name_raises("nameless"), "NameRaises: nameless"),
    (LiesAboutItsClass, "LiesAboutItsClass: is it me?"),
    (
        lambda: BaseExceptionGroup("several", [NotAnException("a"), ValueError("b")]),
        "BaseExceptionGroup: several (2 sub-exceptions)",
    ),
]
"""What is raised in place of an answer, and how it is told."""

VALUES: list[tuple[Any, str | None]] = [
    (None, "answer() gave NoneType"),
    (7, "answer() gave int"),
    (BOX.encode(), "answer() gave bytes"),
    ({"text": BOX}, "answer() gave dict"),
    ((part for part in [BOX]), "answer() gave generator"),
    (Answer(5), "the answer's text is int"),  # type: ignore[arg-type]
    (Answer(BOX, truncated="no"), "the answer's truncated is str"),  # type: ignore[arg-type]
    (Shouting(BOX), None),
    (BOX + " \ud83d", None),
    (BOX + "\x00\x1b[2J", None),
    (Answer(BOX, prompt_tokens=True, seconds="3"), None),  # type: ignore[arg-type]
    (Answer(BOX, completion_tokens=2**70, cached_tokens=-1), None),
]
"""What is returned, and how it is told; None where it is an answer all the same."""


class Hostile:
    """Every second question is met with the next of all exceptions and values above."""

    needs_images = False

    def __init__(self, max_concurrency: int = 1) -> None:
        self.max_concurrency = max_concurrency
        self._asked = 0

    def answer(self, request: Request) -> Any:
        number, self._asked = self._asked, self._asked + 1
        place, is_hostile = number // 2, number % 2
        if not is_hostile or place >= len(EXCEPTIONS) + len(VALUES):
            return BOX
        if place < len(EXCEPTIONS):
            raise EXCEPTIONS[place][0]()
        return VALUES[place - len(EXCEPTIONS)][0]

    def close(self) -> None:
        raise SystemExit("not even closing works")


class HostileCoroutine(Hostile):
    """The same with the full protocol."""

    async def answer(self, request: Request) -> Any:
        return Hostile.answer(self, request)

    async def close(self) -> None:
        Hostile.close(self)


def _exhausted() -> Any:
    return next(iter([]))


async def _exits() -> None:
    raise SystemExit("from a task")


async def _interrupts() -> None:
    raise KeyboardInterrupt("from a task")


class ConfusesItsLoop:
    """Every second question is met with another way to disturb the event loop."""

    needs_images = False
    max_concurrency = 4

    def __init__(self) -> None:
        self._asked = 0
        self._pool = ThreadPoolExecutor(1)

    async def answer(self, request: Request) -> str:
        number, self._asked = self._asked, self._asked + 1
        if number % 2:
            loop = asyncio.get_running_loop()
            match number // 2 % 8:
                case 0:
                    await asyncio.to_thread(_exhausted)
                case 1:
                    await loop.run_in_executor(self._pool, _exhausted)
                case 2:
                    await asyncio.create_task(_exits())
                case 3:
                    await asyncio.gather(_interrupts())
                case 4:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    await asyncio.sleep(60)
                case 5:
                    loop.stop()
                    raise RuntimeError("stopped the loop")
                case 6:
                    loop.call_soon(sys.exit, "from a callback")
                    raise RuntimeError("exits from a callback")
                case 7:
                    cancelled = loop.create_future()
                    cancelled.cancel()
                    await cancelled
        return BOX

    async def close(self) -> None:
        self._pool.shutdown()


class CancelsEverything:
    """Its second answer cancels all tasks there are."""

    needs_images = False
    max_concurrency = 1

    def __init__(self) -> None:
        self._asked = 0

    async def answer(self, request: Request) -> str:
        self._asked += 1
        if self._asked == 2:
            for task in asyncio.all_tasks():
                task.cancel()
        return BOX

    async def close(self) -> None:
        pass


class KeepsTheLoopBusy:
    """Its second answer never comes, and lets nothing else have a turn."""

    needs_images = False
    max_concurrency = 1

    def __init__(self) -> None:
        self._asked = 0

    async def answer(self, request: Request) -> str:
        self._asked += 1
        while self._asked > 1:
            time.sleep(0.01)
        return BOX

    async def close(self) -> None:
        pass


class HidesInAPool:
    """Its second answer never comes, and its thread is none of migbench's."""

    needs_images = False

    def __init__(self) -> None:
        self._asked = 0
        self._pool = ThreadPoolExecutor(1)

    def answer(self, request: Request) -> str:
        self._asked += 1
        if self._asked == 2:
            self._pool.submit(threading.Event().wait).result()
        return BOX


class NeverReturns:
    """Its second answer never comes."""

    needs_images = False

    def __init__(self) -> None:
        self._asked = 0

    def answer(self, request: Request) -> str:
        self._asked += 1
        if self._asked == 2:
            threading.Event().wait()
        return BOX
