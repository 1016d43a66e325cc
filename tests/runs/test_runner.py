"""The runner: every question once, in order of image sets, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_run_store import manifest

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Purpose, Question, Strategy, Turn, by_image_set
from migbench.asking.strategies import find_strategy
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import find_dialect
from migbench.messages import Answer, ImageFile, ModelError, Request
from migbench.models.resolving import Model, resolve_model
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.opening import open_run
from migbench.runs.runner import GIVE_UP_AFTER, Progress, Runner
from migbench.runs.store import Run, RunStore
from migbench.scoring import PROTOCOLS, Outcome, Scorer


def instance(number: int, image_set: str = "s") -> Instance:
    return Instance(
        id=f"diff-{number}",
        index=number,
        task="diff",
        images=(f"{image_set}/1.png", f"{image_set}/2.png"),
        question=f"Where is thing {number}? ",
        target_image=1,
        asked_image=1,
        box=Box(0.0, 0.0, 0.5, 0.5),
    )


def questions(*instances: Instance) -> list[Question]:
    return list(EVALUATORS["polling"](instances))


DIRECT = find_strategy("direct")


class Scripted:
    """An adapter that answers by a function and remembers what it was asked."""

    needs_images = False

    def __init__(self, reply: Callable[[Request], str], max_concurrency: int = 4) -> None:
        self.reply = reply
        self.max_concurrency = max_concurrency
        self.asked: list[Request] = []
        self.under_way = self.most_under_way = 0
        self.closed = False

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return Answer(self.reply(request))

    async def close(self) -> None:
        self.closed = True


def run(
    folder: Path,
    adapter: Scripted,
    asked: list[Question],
    strategy: Callable[[Question], Strategy] = DIRECT,
    model: Model | None = None,
    image: Callable[[str], ImageFile] = ImageFile,
) -> Progress:
    progress = Progress()
    with open_run(folder, manifest(model=model or resolve_model("whole-image"))) as store:
        runner = Runner(store, adapter, strategy, image, progress=progress)
        asyncio.run(runner.run(asked))
    return progress


def test_every_question_is_answered_and_stored(tmp_path: Path) -> None:
    adapter = Scripted(lambda request: request.text())
    run(tmp_path, adapter, questions(*map(instance, range(20))))
    lines = Run(tmp_path).lines
    assert len(adapter.asked) == len(lines) == 20
    assert lines["diff-7", 0].text == lines["diff-7", 0].prompt
    assert adapter.closed


def test_questions_on_one_image_set_follow_each_other() -> None:
    mixed = questions(instance(0, "a"), instance(1, "b"), instance(2, "a"), instance(3, "b"))
    assert [question.id for question in by_image_set(mixed)] == [
        "diff-0",
        "diff-2",
        "diff-1",
        "diff-3",
    ]


def test_as_many_requests_are_under_way_as_the_adapter_takes_at_once(tmp_path: Path) -> None:
    adapter = Scripted(lambda request: "", max_concurrency=3)
    run(tmp_path, adapter, questions(*map(instance, range(10))))
    assert adapter.most_under_way == 3


def test_a_second_run_asks_nothing_again(tmp_path: Path) -> None:
    asked = questions(*map(instance, range(5)))
    run(tmp_path, Scripted(lambda request: "said"), asked)
    again = Scripted(lambda request: "something else")
    run(tmp_path, again, asked)
    assert again.asked == []
    assert {line.text for line in Run(tmp_path).lines.values()} == {"said"}


def test_what_a_filter_refused_ends_its_question_and_is_not_asked_again(tmp_path: Path) -> None:
    class Filtered(Scripted):
        async def answer(self, request: Request) -> Answer:
            self.asked.append(request)
            return Answer("It was filtered.", refused=True)

    asked = questions(*map(instance, range(3)))
    chain = find_strategy("mcot")
    first, again = Filtered(lambda request: ""), Filtered(lambda request: "")
    progress = run(tmp_path, first, asked, chain)
    run(tmp_path, again, asked, chain)
    # Step 1 asks for the same words three times.
    assert (len(first.asked), len(again.asked), progress.failed) == (1, 0, 0)
    lines = Run(tmp_path).lines
    assert {(line.turn, line.answer and line.answer.refused) for line in lines.values()} == {
        (0, True)
    }
    scorer = Scorer(PROTOCOLS["standard"], find_dialect("qwen2-vl"), chain, "mcot")
    assert {each.outcome for each in scorer.score(asked, lines)} == {Outcome.REFUSED}


def test_a_failure_is_recorded_with_its_reason_and_asked_again_later(tmp_path: Path) -> None:
    def fails_on_three(request: Request) -> str:
        if "thing 3" in request.text():
            raise ModelError("server said 500")
        return "said"

    asked = questions(*map(instance, range(6)))
    progress = run(tmp_path, Scripted(fails_on_three), asked)
    assert progress.failed == 1
    assert Run(tmp_path).lines["diff-3", 0].error == "server said 500"
    assert sum(line.text is not None for line in Run(tmp_path).lines.values()) == 5

    mended = Scripted(lambda request: "late")
    assert run(tmp_path, mended, asked).failed == 0
    assert ["thing 3" in request.text() for request in mended.asked] == [True]
    assert Run(tmp_path).lines["diff-3", 0].text == "late"


def test_whatever_an_adapter_raises_ends_one_question_only(tmp_path: Path) -> None:
    def breaks(request: Request) -> str:
        if "thing 1" in request.text():
            raise RuntimeError("a bug in somebody's adapter")
        return "said"

    run(tmp_path, Scripted(breaks), questions(*map(instance, range(3))))
    lines = Run(tmp_path).lines
    assert lines["diff-1", 0].error == "RuntimeError: a bug in somebody's adapter"
    assert lines["diff-0", 0].text == lines["diff-2", 0].text == "said"


def test_equal_requests_are_asked_once_even_while_in_flight(tmp_path: Path) -> None:
    twins = [instance(0), replace(instance(1), question=instance(0).question)]
    adapter = Scripted(lambda request: "said", max_concurrency=2)
    run(tmp_path, adapter, questions(*twins))
    assert len(adapter.asked) == 1
    lines = Run(tmp_path).lines
    assert [lines[f"diff-{number}", 0].text for number in (0, 1)] == ["said", "said"]
    assert sum(line.reused for line in lines.values()) == 1


def test_a_model_that_answers_nothing_is_given_up(tmp_path: Path) -> None:
    def down(request: Request) -> str:
        raise ModelError("connection refused")

    adapter = Scripted(down, max_concurrency=1)
    progress = run(tmp_path, adapter, questions(*map(instance, range(3 * GIVE_UP_AFTER))))
    assert progress.gave_up
    assert len(adapter.asked) == GIVE_UP_AFTER


def two_steps(question: Question) -> Strategy:
    said = yield Turn(Purpose.DIRECT, "Describe.", (0, 1))
    yield Turn(Purpose.DIRECT, f"Ground {said}.", (1,), grounds=(0,))


def test_a_strategy_may_take_several_turns_and_resumes_between_them(tmp_path: Path) -> None:
    def fails_at_step_two(request: Request) -> str:
        if "Ground" in request.text():
            raise ModelError("lost")
        return "a dog"

    asked = questions(instance(0))
    run(tmp_path, Scripted(fails_at_step_two), asked, two_steps)
    mended = Scripted(lambda request: "(1,2),(3,4)")
    run(tmp_path, mended, asked, two_steps)
    assert [request.text() for request in mended.asked] == [
        "Ground a dog.Format:<|box_start|>(x1,y1),(x2,y2)<|box_start|>. "
        "Don't generate addtional words."
    ]
    assert len(mended.asked[0].images) == 1
    assert Run(tmp_path).lines["diff-0", 1].text == "(1,2),(3,4)"


def test_a_first_step_that_many_targets_share_is_asked_once(tmp_path: Path) -> None:
    adapter = Scripted(lambda request: request.text()[:8], max_concurrency=4)
    run(tmp_path, adapter, questions(*map(instance, range(4))), two_steps)
    assert sum(request.text().startswith("Describe") for request in adapter.asked) == 1


def test_a_first_step_that_fails_fails_for_all_who_share_it_and_is_asked_once(
    tmp_path: Path,
) -> None:
    def down(request: Request) -> str:
        raise ModelError("server said 500")

    asked = questions(*map(instance, range(4)))
    adapter = Scripted(down, max_concurrency=4)
    assert run(tmp_path, adapter, asked, two_steps).failed == 4
    assert len(adapter.asked) == 1
    assert {line.error for line in Run(tmp_path).lines.values()} == {"server said 500"}

    mended = Scripted(lambda request: "a dog", max_concurrency=4)
    assert run(tmp_path, mended, asked, two_steps).failed == 0
    assert sum(request.text().startswith("Describe") for request in mended.asked) == 1


def test_a_disk_that_is_full_ends_the_run_and_is_not_the_models_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: RunStore, line: AnswerLine) -> None:
        assert line.error is None
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "append", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, Scripted(lambda request: "said"), questions(*map(instance, range(3))))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, width in (("1.png", 40), ("2.png", 60)):
        (tmp_path / "images" / "s").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, 20)).save(tmp_path / "images" / "s" / name)
    return tmp_path / "images"


def test_other_image_bytes_make_another_request(tmp_path: Path, pictures: Path) -> None:
    def found(name: str) -> ImageFile:
        return ImageFile(name, pictures / name)

    asked = questions(instance(0))
    run(tmp_path / "run", Scripted(lambda request: "old"), asked, image=found)
    Image.new("RGB", (60, 20), "red").save(pictures / "s" / "2.png")
    again = Scripted(lambda request: "new")
    run(tmp_path / "run", again, asked, image=found)
    assert len(again.asked) == 1
    assert Run(tmp_path / "run").lines["diff-0", 0].text == "new"


def test_a_pixel_dialects_run_keeps_the_image_sizes(tmp_path: Path, pictures: Path) -> None:
    adapter = Scripted(lambda request: "[1, 2, 3, 4]")
    adapter.needs_images = True
    model = resolve_model("qwen2.5-vl-7b")
    run(
        tmp_path / "run",
        adapter,
        questions(instance(0)),
        model=model,
        image=lambda name: ImageFile(name, pictures / name),
    )
    assert Run(tmp_path / "run").lines["diff-0", 0].sizes == [(40, 20), (60, 20)]


def test_a_missing_image_is_that_questions_failure(tmp_path: Path) -> None:
    adapter = Scripted(lambda request: "")
    adapter.needs_images = True
    progress = run(
        tmp_path / "run",
        adapter,
        questions(instance(0)),
        model=resolve_model("qwen2.5-vl-7b"),
        image=lambda name: ImageFile(name, tmp_path / "nowhere" / name),
    )
    assert progress.failed == 1
    assert "s/1.png" in (Run(tmp_path / "run").lines["diff-0", 0].error or "")


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "s/1.png"),
        OSError(5, "Input/output error", "s/1.png"),
        OSError(24, "Too many open files", "s/1.png"),
        MemoryError("no memory for the pixels"),
        SystemExit("a decoder ends the program"),
        KeyError("a decoder's table"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_image_that_cannot_be_read_costs_its_question_alone(
    tmp_path: Path, pictures: Path, error: BaseException
) -> None:
    def found(name: str) -> ImageFile:
        if name.startswith("broken/"):
            raise error
        return ImageFile(name, pictures / name)

    adapter = Scripted(lambda request: "said")
    adapter.needs_images = True
    asked = questions(instance(0), instance(1, "broken"), instance(2))
    assert run(tmp_path / "run", adapter, asked, image=found).failed == 1
    lines = Run(tmp_path / "run").lines
    assert str(error) in (lines["diff-1", 0].error or "")
    assert [lines[f"diff-{number}", 0].text for number in (0, 2)] == ["said", "said"]
    assert "Traceback" in (tmp_path / "run" / "run.log").read_text("utf-8")


def test_a_question_that_cannot_be_encoded_costs_itself_alone(tmp_path: Path) -> None:
    half = replace(instance(1), question="Where is \ud83d? ")
    adapter = Scripted(lambda request: "said")
    assert run(tmp_path, adapter, questions(instance(0), half, instance(2))).failed == 1
    lines = Run(tmp_path).lines
    assert "surrogates not allowed" in (lines["diff-1", 0].error or "")
    assert lines["diff-0", 0].text == lines["diff-2", 0].text == "said"


def test_answers_that_cannot_be_read_back_are_not_written(tmp_path: Path) -> None:
    class Careless(Scripted):
        async def answer(self, request: Request) -> Answer:
            number = int(request.text().split("thing ")[1].split("?")[0])
            wrong: Any = [5, True, "3", float("nan"), -1, 10**30][number]
            if number == 0:
                return Answer(wrong)
            return Answer("said", prompt_tokens=wrong, completion_tokens=7, seconds=wrong)

    run(tmp_path, Careless(lambda request: ""), questions(*map(instance, range(6))))
    lines = Run(tmp_path).lines
    assert lines["diff-0", 0].error == "TypeError: the answer's text is int, not str"
    for number in range(1, 6):
        line = lines[f"diff-{number}", 0]
        assert line.answer is not None
        known = line.answer.text, line.answer.prompt_tokens, line.answer.completion_tokens
        assert known == ("said", None, 7)
    log = (tmp_path / "run.log").read_text("utf-8")
    assert "diff-2 turn 0: prompt_tokens is left out of the answer: str is no measurement" in log


def test_no_more_is_under_way_than_there_are_questions(tmp_path: Path) -> None:
    adapter = Scripted(lambda request: "said", max_concurrency=10**12)
    run(tmp_path, adapter, questions(*map(instance, range(3))))
    assert adapter.most_under_way == 3
