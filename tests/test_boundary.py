"""What adapters return and raise, as it reaches the rest of migbench."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hostile_adapters import Mute, SaysNothingElse, Shouting, name_raises, raised
from hypothesis import given
from hypothesis import strategies as st

from migbench.boundary import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    Failure,
    answer_from,
    checked_answer,
    describe,
)
from migbench.errors import ModelError
from migbench.messages import Answer, Request
from migbench.plain_text import encodable
from migbench.run_store import AnswerLine
from migbench.runner import filled


class Adapter:
    """Answers by a function."""

    capacity = 1
    needs_images = False

    def __init__(self, say: Callable[[], Any]) -> None:
        self._say = say

    async def answer(self, request: Request) -> Any:
        return self._say()

    async def close(self) -> None:
        pass


def ask(say: Callable[[], Any]) -> Answer:
    return asyncio.run(answer_from(Adapter(say), Request(("Where?",))))


# What is returned


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_stored_and_comes_back(text: str) -> None:
    answer = checked_answer(text)
    assert type(answer.text) is str
    line = filled(AnswerLine(question="q"), answer)
    assert msgspec.json.decode(msgspec.json.encode(line), type=AnswerLine) == line


@given(st.text(st.characters(codec="utf-8")))
def test_text_that_is_text_stays_as_it_is(text: str) -> None:
    assert encodable(text) == text


def test_a_text_with_methods_of_its_own_becomes_a_plain_one() -> None:
    answer = checked_answer(Shouting("[1, 2, 3, 4]"))
    assert (type(answer.text), answer.text) == (str, "[1, 2, 3, 4]")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "answer() gave NoneType, not Answer or str"),
        (5, "answer() gave int, not Answer or str"),
        (b"[1, 2, 3, 4]", "answer() gave bytes, not Answer or str"),
        (Answer(5), "the answer's text is int, not str"),  # type: ignore[arg-type]
        (Answer("", truncated=1), "the answer's truncated is int, not bool"),  # type: ignore[arg-type]
        (Answer("", refused="no"), "the answer's refused is str, not bool"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_answer_is_a_failure(value: Any, told: str) -> None:
    with pytest.raises(Failure) as failure:
        ask(lambda: value)
    assert failure.value.message == f"TypeError: {told}"
    assert "checked_answer" in failure.value.details


def test_a_coroutine_from_a_plain_class_is_a_failure_and_no_warning() -> None:
    async def late() -> str:
        return "[1, 2, 3, 4]"

    with pytest.raises(Failure, match="answer\\(\\) gave coroutine"):
        ask(late)


@pytest.mark.parametrize("count", [True, -1, 2**70, "7", 1.5, float("nan"), [], None])
def test_a_count_that_is_none_does_not_cost_the_answer(count: Any) -> None:
    answer = checked_answer(Answer("yes", prompt_tokens=count, completion_tokens=7))
    assert answer == Answer("yes", prompt_tokens=None, completion_tokens=7)


@pytest.mark.parametrize("seconds", [True, -0.5, float("inf"), float("nan"), "3", 10**400, []])
def test_a_time_that_is_none_does_not_cost_the_answer(seconds: Any) -> None:
    assert checked_answer(Answer("yes", seconds=seconds)) == Answer("yes")


# What is name_raises, raised


def test_our_own_errors_say_what_they_say() -> None:
    assert describe(ModelError("image a.png: cannot be read")) == "image a.png: cannot be read"
    assert describe(ValueError("shapes differ")) == "ValueError: shapes differ"
    assert describe(StopIteration()) == "StopIteration"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Mute(), "Mute: (its message cannot be shown: SystemExit)"),
        (SaysNothingElse(), "SaysNothingElse: (its message cannot be shown: TypeError)"),
        (name_raises("why"), "NameRaises: why"),
        (ValueError("half \ud83d"), "ValueError: half \\ud83d"),
    ],
)
def test_an_exception_that_cannot_be_read_is_told(error: BaseException, told: str) -> None:
    failure = Failure(error)
    assert failure.message == told
    failure.details.encode()


def test_a_long_message_and_a_deep_traceback_are_cut() -> None:
    def deep(level: int) -> None:
        if level == 0:
            raise ValueError("x" * 10**6)
        (deep if level % 2 else lambda below: deep(below))(level - 1)

    failure = Failure(raised(lambda: deep(300)))
    assert len(failure.message) < LONGEST_MESSAGE + 100
    assert len(failure.details) < LONGEST_TRACEBACK + 100
    assert failure.details.startswith("Traceback")


def test_causes_in_a_circle_are_told_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert "one" in Failure(one).details


# Whose cancellation it is


def test_a_cancellation_by_the_adapter_is_a_failure() -> None:
    def cancel() -> None:
        raise asyncio.CancelledError("the pool was closed")

    with pytest.raises(Failure, match="CancelledError: the pool was closed"):
        ask(cancel)


@pytest.mark.parametrize("error", [GeneratorExit("gone"), SystemExit(1), asyncio.CancelledError()])
def test_what_a_future_brings_is_a_failure_too(error: BaseException) -> None:
    class Awaits(Adapter):
        async def answer(self, request: Request) -> Any:
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_exception, error)
            return await future

    with pytest.raises(Failure, match=type(error).__name__):
        asyncio.run(answer_from(Awaits(lambda: ""), Request(("Where?",))))


def test_a_cancellation_of_the_run_goes_through() -> None:
    class Slow(Adapter):
        async def answer(self, request: Request) -> Any:
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(answer_from(Slow(lambda: ""), Request(("Where?",))))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_only_the_user_stops_a_run() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(interrupt)
