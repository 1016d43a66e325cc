"""The boundary with adapters: what they return becomes an `Answer`, what they raise a text.

An adapter is somebody else's code, and runs what a server or a checkpoint sends. Whatever it
returns is checked here before it is stored, so that only what can be read back is written. Whatever
it raises is turned into plain text here, also where the exception's own methods fail. Nothing that
crosses the boundary can end a run or keep it waiting; only the user can, by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
import operator
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from migbench.errors import Interrupted, ModelError, ServerDown
from migbench.messages import Adapter, Answer, Request
from migbench.models.event_loop import STOPPING_SECONDS
from migbench.util.plain_text import describe, encodable, traceback_of

T = TypeVar("T")

CLOSING_SECONDS = 90.0
"""How long an adapter may take to release what it holds."""

_LARGEST = 2**63 - 1
"""The largest whole number that every reader of JSON takes."""

_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens")


class Failure(Exception):
    """An exception that crossed the boundary, as plain text without secrets.

    ``message`` is for tables and the terminal, ``details`` is the whole traceback.
    """

    def __init__(self, error: BaseException) -> None:
        """Read the exception once; none of its methods is called again."""
        self.message = describe(error)
        self.server_is_down = issubclass(type(error), ServerDown)
        self.details = traceback_of(error)
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer in plain types, and what had to be changed or left out to make it so."""

    answer: Answer
    remarks: tuple[str, ...] = ()


def max_concurrency_of(adapter: object) -> int:
    """How many requests an adapter takes at once; 1 where it does not say.

    Adapters written for earlier versions call it ``capacity``.
    """
    said: int = getattr(adapter, "max_concurrency", getattr(adapter, "capacity", 1))
    return said


async def answer_from(adapter: Adapter, request: Request) -> Checked:
    """What the adapter answers, checked.

    Raises whatever the adapter raised as a plain `Failure`. `asyncio.CancelledError` is raised only
    where the calling task is cancelled, and `Interrupted` where the user interrupts.
    """

    async def checked() -> Checked:
        return checked_answer(await adapter.answer(request))

    outcome = await _outcome(checked)
    if isinstance(outcome, Failure):
        raise outcome
    return outcome


async def called(hook: Callable[[], Awaitable[T]], seconds: float | None = None) -> T | Failure:
    """What a coroutine function of an adapter's gives, or how it failed.

    Where it takes more than ``seconds``, it is left behind, which is a failure too.
    """

    async def value() -> T:
        return await hook()

    return await _outcome(value, seconds)


async def closed(adapter: Adapter) -> Failure | None:
    """Close the adapter; what it raises then costs no answer, and is given back."""
    return await called(adapter.close, CLOSING_SECONDS)


async def _outcome(call: Callable[[], Awaitable[T]], seconds: float | None = None) -> T | Failure:
    """What the call gives, or how it failed, as a value.

    The call has a task of its own, and can cancel or confuse no other. A cancellation that arrives
    here is therefore the caller's; it is passed on to the call, which may take
    `STOPPING_SECONDS` to end.
    """

    async def caught() -> T | Failure:
        try:
            return await call()
        except Interrupted:
            raise
        # An adapter may raise anything: SystemExit, GeneratorExit, a class of its own.
        except BaseException as error:
            return Failure(error)

    task = asyncio.create_task(caught())
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task], timeout=STOPPING_SECONDS)
        raise
    if not task.done():
        task.cancel()
        return Failure(ModelError(f"it did not end within {seconds:.0f} s, and is left behind"))
    try:
        return task.result()
    except asyncio.CancelledError as error:  # Before it began, by somebody who cancels all tasks.
        return Failure(error)


def checked_answer(answer: object) -> Checked:
    """The answer in plain types, its text encodable as UTF-8.

    A plain `str` is an answer too. A measurement that is none (a token count that is no whole
    number, a negative time) is left out: it must not cost the answer. Raises `TypeError` where
    there is no text, or where it is unclear whether the text is whole.
    """
    if issubclass(type(answer), str):
        answer = Answer(answer)  # type: ignore[arg-type]
    if not issubclass(type(answer), Answer):
        if inspect.iscoroutine(answer):
            answer.close()  # Never awaited: Python would warn of it.
        raise TypeError(f"answer() gave {type(answer).__name__}, not Answer or str")
    # Each field is read once: a subclass may give something else the next time.
    given = {name: getattr(answer, name) for name in Answer.__dataclass_fields__}
    if not issubclass(type(given["text"]), str):
        raise TypeError(f"the answer's text is {type(given['text']).__name__}, not str")
    for name in ("truncated", "refused"):
        if type(given[name]) is not bool:
            raise TypeError(f"the answer's {name} is {type(given[name]).__name__}, not bool")
    measured = {name: _count(given[name]) for name in _COUNTS}
    seconds = _seconds(given["seconds"])
    left_out = [
        f"{name} is left out of the answer: {_kind(given[name])} is no measurement"
        for name, value in [*measured.items(), ("seconds", seconds)]
        if value is None and given[name] is not None
    ]
    text = encodable(given["text"])
    if not str.__eq__(text, given["text"]):
        left_out.append("halves of surrogate pairs in the text are written as \\uXXXX")
    checked = Answer(
        text=text,
        truncated=given["truncated"],
        refused=given["refused"],
        seconds=seconds,
        **measured,
    )
    return Checked(checked, tuple(left_out))


def _kind(value: object) -> str:
    """A wrong measurement, as far as it can be shown: a number itself, else its type."""
    kind = type(value)
    return repr(value)[:40] if kind in (bool, int, float) else kind.__name__


def _count(value: Any) -> int | None:
    try:
        count = operator.index(value)
    except TypeError:
        return None
    return count if type(value) is not bool and 0 <= count <= _LARGEST else None


def _seconds(value: Any) -> float | None:
    if not issubclass(type(value), numbers.Real) or type(value) is bool:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
