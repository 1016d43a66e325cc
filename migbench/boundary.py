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
import operator
import traceback
from typing import Any

from migbench.errors import MigbenchError
from migbench.messages import Adapter, Answer, Request
from migbench.plain_text import encodable
from migbench.redaction import redact

LONGEST_MESSAGE = 2_000
"""Characters that are kept of an error's own words."""

LONGEST_TRACEBACK = 20_000
"""Characters that are kept of a traceback: its beginning and its end."""

_LARGEST = 2**63 - 1
"""The largest whole number that every reader of JSON takes."""

_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens")


async def answer_from(adapter: Adapter, request: Request) -> Answer:
    """What the adapter answers, checked.

    Raises whatever the adapter raised as a plain `Failure`; `asyncio.CancelledError` only where the
    calling task is being cancelled, and `KeyboardInterrupt`.
    """
    # A task of its own: a GeneratorExit out of a future closes all coroutines but the outermost.
    outcome = await asyncio.create_task(_outcome(adapter, request))
    if isinstance(outcome, Failure):
        raise outcome
    return outcome


async def _outcome(adapter: Adapter, request: Request) -> Answer | Failure:
    try:
        return checked_answer(await adapter.answer(request))
    except Failure as failure:
        return failure
    except KeyboardInterrupt:
        raise
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        return Failure(error)
    # An adapter may raise anything: SystemExit, GeneratorExit, a class of its own.
    except BaseException as error:
        return Failure(error)


async def closed(adapter: Adapter) -> Failure | None:
    """Close the adapter; what it raises then costs no answer, and is given back."""
    try:
        await adapter.close()
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:
        return Failure(error)
    return None


class Failure(Exception):
    """An exception that crossed the boundary, as plain text without secrets.

    ``message`` is for tables and the terminal, ``details`` is the whole traceback.
    """

    def __init__(self, error: BaseException) -> None:
        """Read the exception once; none of its methods is called again."""
        self.message = describe(error)
        self.details = _traceback(error)
        super().__init__(self.message)


def checked_answer(answer: object) -> Answer:
    """The answer in plain types, its text encodable as UTF-8.

    A plain `str` is an answer too. A measurement that is none (a token count that is no whole
    number, a negative time) is left out: it must not cost the answer. Raises `TypeError` where
    there is no text, or where it is unclear whether the text is whole.
    """
    if isinstance(answer, str):
        return Answer(encodable(answer))
    if not isinstance(answer, Answer):
        if inspect.iscoroutine(answer):
            answer.close()  # Never awaited: Python would warn of it.
        raise TypeError(f"answer() gave {type(answer).__name__}, not Answer or str")
    if not isinstance(answer.text, str):
        raise TypeError(f"the answer's text is {type(answer.text).__name__}, not str")
    for name in ("truncated", "refused"):
        if not isinstance(value := getattr(answer, name), bool):
            raise TypeError(f"the answer's {name} is {type(value).__name__}, not bool")
    return Answer(
        text=encodable(answer.text),
        truncated=answer.truncated,
        refused=answer.refused,
        seconds=_seconds(answer.seconds),
        **{name: _count(getattr(answer, name)) for name in _COUNTS},
    )


def describe(error: BaseException) -> str:
    """An exception in plain words, without secrets, with its kind where it is not one of ours."""
    words = _words(error)
    if not isinstance(error, MigbenchError):
        words = f"{_kind(error)}: {words}" if words else _kind(error)
    # Cut behind the filter, which would not know a half of a secret.
    return _shortened(redact(words), LONGEST_MESSAGE)


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _kind(error: BaseException) -> str:
    return encodable(type.__dict__["__name__"].__get__(type(error)))


def _words(error: BaseException) -> str:
    """What the exception says of itself; its arguments where it cannot."""
    try:
        return encodable(str(error))
    # The exception is somebody else's, and so are its methods.
    except BaseException as another:
        return f"(its message cannot be shown: {_kind(another)})"


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error)
        text = "".join(encodable(line) for line in lines)
    except BaseException as another:  # Formatting calls methods of the exception, too.
        text = "".join(traceback.format_tb(error.__traceback__))
        text += f"{_kind(error)} (its message cannot be shown: {_kind(another)})\n"
    return _shortened(redact(text), LONGEST_TRACEBACK)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _count(value: Any) -> int | None:
    try:
        count = operator.index(value)
    except TypeError:
        return None
    return count if not isinstance(value, bool) and 0 <= count <= _LARGEST else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool | str):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
