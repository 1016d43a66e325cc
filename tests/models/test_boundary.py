"""What adapters return and raise, as it reaches the rest of migbench."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_adapters import (
    LiesAboutItsClass,
    Mute,
    SaysNothingElse,
    Shouting,
    name_raises,
    raised,
)

from migbench.errors import ModelError
from migbench.messages import Answer, Request
from migbench.models.boundary import Failure, answer_from, called, checked_answer, closed
from migbench.models.event_loop import EventLoop
from migbench.runs.answer_lines import AnswerLine, decode_line, encode_line, with_answer
from migbench.util.plain_text import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    describe,
    encodable,
    root_cause,
)
from migbench.util.redaction import forget_secrets, keep_secret


class Adapter:
    """Answers by a function."""

    max_concurrency = 1
    needs_images = False

    def __init__(self, say: Callable[[], Any]) -> None:
        self._say = say

    async def answer(self, request: Request) -> Any:
        return self._say()

    async def close(self) -> None:
        pass


def ask(say: Callable[[], Any]) -> Answer:
    return asyncio.run(answer_from(Adapter(say), Request(("Where?",)))).answer


# What is returned


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_stored_and_comes_back(text: str) -> None:
    answer = checked_answer(text).answer
    assert type(answer.text) is str
    line = with_answer(AnswerLine(question="q"), answer)
    assert decode_line(encode_line(line)) == line


@given(st.text(st.characters(codec="utf-8")))
def test_text_that_is_text_stays_as_it_is(text: str) -> None:
    assert encodable(text) == text


def test_a_text_with_methods_of_its_own_becomes_a_plain_one() -> None:
    checked = checked_answer(Shouting("[1, 2, 3, 4]"))
    assert checked.remarks == ()
    assert (type(checked.answer.text), checked.answer.text) == (str, "[1, 2, 3, 4]")


def test_half_a_surrogate_pair_is_kept_as_its_escape_and_remarked() -> None:
    checked = checked_answer("[1, 2, 3, 4] \ud83d")
    assert checked.answer.text == "[1, 2, 3, 4] \\ud83d"
    assert checked.remarks == ("halves of surrogate pairs in the text are written as \\uXXXX",)


def test_a_field_that_changes_when_it_is_read_is_read_once() -> None:
    class Fickle(Answer):
        reads = 0

        @property
        def truncated(self) -> Any:  # type: ignore[override]
            Fickle.reads += 1
            return False if Fickle.reads == 1 else "no"

        @truncated.setter
        def truncated(self, value: bool) -> None: ...

    fickle = Fickle.__new__(Fickle)
    object.__setattr__(fickle, "text", "yes")
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds"):
        object.__setattr__(fickle, name, None)
    object.__setattr__(fickle, "refused", False)
    assert checked_answer(fickle).answer == Answer("yes")


def test_what_lies_about_its_class_is_no_text() -> None:
    class Liar:
        __class__ = str  # type: ignore[assignment]

    with pytest.raises(TypeError, match="gave Liar"):
        checked_answer(Liar())


def test_numbers_of_other_libraries_are_numbers() -> None:
    given = Answer("yes", prompt_tokens=numpy.int64(7), seconds=numpy.float32(0.5))  # type: ignore[arg-type]
    answer = checked_answer(given).answer
    assert answer == Answer("yes", prompt_tokens=7, seconds=0.5)
    assert (type(answer.prompt_tokens), type(answer.seconds)) == (int, float)


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
    checked = checked_answer(Answer("yes", prompt_tokens=count, completion_tokens=7))
    assert checked.answer == Answer("yes", prompt_tokens=None, completion_tokens=7)
    named = [remark.startswith("prompt_tokens is left out") for remark in checked.remarks]
    assert named == [True] * (count is not None)


@pytest.mark.parametrize(
    "seconds", [True, -0.5, float("inf"), float("nan"), "3", 10**400, [], b"3"]
)
def test_a_time_that_is_none_does_not_cost_the_answer(seconds: Any) -> None:
    checked = checked_answer(Answer("yes", seconds=seconds))
    assert checked.answer == Answer("yes")
    assert checked.remarks[0].startswith("seconds is left out")


# What is raised


def test_our_own_errors_say_what_they_say() -> None:
    assert describe(ModelError("image a.png: cannot be read")) == "image a.png: cannot be read"
    assert describe(ValueError("shapes differ")) == "ValueError: shapes differ"
    assert describe(StopIteration()) == "StopIteration"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LiesAboutItsClass(), "LiesAboutItsClass: is it me?"),
        (lambda: Mute(), "Mute: (its message cannot be shown: SystemExit)"),
        (lambda: SaysNothingElse(), "SaysNothingElse: (its message cannot be shown: TypeError)"),
        (lambda: name_raises("why"), "NameRaises: why"),
        (lambda: ValueError("half \ud83d"), "ValueError: half \\ud83d"),
    ],
)
def test_an_exception_that_cannot_be_read_is_told(
    make: Callable[[], BaseException], told: str
) -> None:
    failure = Failure(make())
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
    assert root_cause(one) is other


def test_no_secret_is_in_what_is_told() -> None:
    keep_secret("sk-0123456789abcdef")
    try:
        words = "x" * 995 + "sk-0123456789abcdef" + "y" * 10_000
        failure = Failure(raised(lambda: int(words)))
    finally:
        forget_secrets()
    assert "sk-0123" not in failure.message
    assert "sk-0123" not in failure.details


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


def test_an_adapter_that_cancels_its_task_fails_alone() -> None:
    class Cancels(Adapter):
        async def answer(self, request: Request) -> Any:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

    with pytest.raises(Failure, match="CancelledError"):
        asyncio.run(answer_from(Cancels(lambda: ""), Request(("Where?",))))


def test_an_adapter_that_goes_on_when_it_is_cancelled_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("migbench.models.boundary.STOPPING_SECONDS", 0.05)
    monkeypatch.setattr("migbench.models.event_loop.STOPPING_SECONDS", 0.05)

    class Stubborn(Adapter):
        async def answer(self, request: Request) -> Any:
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

    async def cancelled() -> str:
        task = asyncio.create_task(answer_from(Stubborn(lambda: ""), Request(("Where?",))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return "ended" if task.cancelled() else "goes on"

    loop = EventLoop()
    assert loop.run(cancelled()) == "ended"
    loop.close()


def test_a_keyboard_interrupt_without_a_user_is_a_failure() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt("mine")

    with pytest.raises(Failure, match="KeyboardInterrupt: mine"):
        ask(interrupt)


# Closing


def test_closing_may_fail_and_may_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closes(Adapter):
        async def close(self) -> None:
            self._say()
            await asyncio.sleep(60)

    def fail() -> None:
        raise SystemExit("not even closing works")

    monkeypatch.setattr("migbench.models.boundary.CLOSING_SECONDS", 0.05)
    failed = asyncio.run(closed(Closes(fail)))
    late = asyncio.run(closed(Closes(lambda: "")))
    assert failed is not None
    assert failed.message == "SystemExit: not even closing works"
    assert late is not None
    assert late.message == "it did not end within 0 s, and is left behind"
    assert asyncio.run(closed(Adapter(lambda: ""))) is None


def test_a_hook_gives_its_value_or_its_failure() -> None:
    async def name() -> str:
        return "llama"

    async def fail() -> str:
        raise GeneratorExit("gone")

    assert asyncio.run(called(name)) == "llama"
    failure = asyncio.run(called(fail))
    assert isinstance(failure, Failure)
    assert failure.message == "GeneratorExit: gone"
