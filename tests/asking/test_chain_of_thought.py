"""Chain of thought: two steps, worded as published, resumable between them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.answer_lines import answer_line
from support.sample_scores import instance

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Purpose, Question, Strategy, Turn
from migbench.asking.strategies import find_strategy
from migbench.asking.strategies.chain_of_thought import clean
from migbench.boxes import Box
from migbench.data.annotations import Annotations, Instance
from migbench.dialects import PromptSet, ask, find_dialect
from migbench.messages import ImageFile
from migbench.scoring import PROTOCOLS, Outcome, SampleScore, Scorer, summarise_tasks
from migbench.tasks import load_tasks

RIGHT = "(200,200),(600,600)"


def polled(*instances: Instance) -> list[Question]:
    return list(EVALUATORS["polling"](instances))


def turns(question: Question, strategy: str, answer: str, prompts: str = "paper") -> list[Turn]:
    """All turns, if every answer is the same."""
    generator = find_strategy(strategy, prompts)(question)
    done = [next(generator)]
    while True:
        try:
            done.append(generator.send(answer))
        except StopIteration:
            return done


# --- Wordings ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "conformance" / "cot_prompts.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("strategy", ["cot", "mcot"])
@pytest.mark.parametrize(
    ("family", "dialect"), [("internvl2", "internvl"), ("mplug", "mplug-owl3")]
)
def test_both_steps_are_the_published_scripts(
    published: list[dict[str, Any]],
    original: Annotations,
    family: str,
    dialect: str,
    strategy: str,
) -> None:
    column = f"{family}_{'single' if strategy == 'cot' else 'multi'}"
    spoken = find_dialect(dialect)
    compared = crashed = 0
    for row, question in zip(published, polled(*original.instances), strict=True):
        wanted = row[column]
        if isinstance(wanted, dict):
            # The script knows five ordinals and crashes when it is asked for a sixth image.
            crashed += 1
            continue
        generator = find_strategy(strategy, "released", dialect)(question)
        steps = [next(generator), generator.send(row["step1_response"])]
        files = [ImageFile(name) for name in question.images]
        for turn, want in zip(steps, wanted, strict=True):
            request = ask(spoken, turn, files, prompts=PromptSet.RELEASED)
            text = request.text(spoken.image_token)
            assert hashlib.sha256(text.encode()).hexdigest() == want["sha256"]
            # By name: four questions of the data set show the same image twice.
            shown = [question.images[index] for index in want["images"]]
            assert [image.name for image in request.images] == shown
        compared += 1
    assert crashed == (111 if column == "internvl2_multi" else 0)
    assert compared + crashed == 4295


def test_the_papers_wordings_are_the_appendixs() -> None:
    question = polled(instance(task="object_tracking", question="… locate it in the 2th image. "))
    first, second = turns(question[0], "cot", "A black dog.")
    assert first.text == (
        "Describe the object in the first image marked with red bounding box with simple phrase."
    )
    assert second.text == (
        "Now ground the target moving object A black dog with bounding box coordinates."
    )


def test_the_families_own_format_ends_step_2_and_nothing_ends_step_1() -> None:
    (question,) = polled(instance())
    files = [ImageFile(name) for name in question.images]
    first, second = turns(question, "cot", "A dog.")
    asked = [
        ask(find_dialect("qwen2-vl"), turn, files, prompts=PromptSet.PAPER).text()
        for turn in (first, second)
    ]
    assert "Format" not in asked[0]
    assert asked[1].endswith(
        " Format: <|box_start|>(x1,y1),(x2,y2)<|box_end|>. Don't generate additional words."
    )


def test_every_task_has_both_steps_in_both_prompt_sets(original: Annotations) -> None:
    first_of_task = {each.task: each for each in reversed(original.instances)}
    assert len(first_of_task) == len(load_tasks())
    for each in first_of_task.values():
        for strategy in ("cot", "mcot"):
            for prompts in ("paper", "released"):
                first, second = turns(*polled(each), strategy, "Image2", prompts)
                assert first.purpose is Purpose.DESCRIBE
                assert second.purpose is Purpose.GROUND
                assert "{" not in first.text + second.text
                assert ("ONIY" in second.text) == (strategy == "mcot" and prompts == "released")


@pytest.mark.parametrize(
    ("said", "quoted"), [("A dog.", "A dog"), ("  a dog. \n", "a dog"), ("...", ""), ("", "")]
)
def test_step_1s_answer_is_quoted_without_spaces_and_dots(said: str, quoted: str) -> None:
    assert clean(said) == quoted


# --- Images --------------------------------------------------------------------------------------


def test_single_image_shows_the_target_alone_and_multi_image_all() -> None:
    (question,) = polled(instance())
    assert [turn.images for turn in turns(question, "cot", "")] == [(0, 1, 2), (1,)]
    assert [turn.images for turn in turns(question, "mcot", "")] == [(0, 1, 2), (0, 1, 2)]


GROUP = instance(task="group_grounding", question="Find the dog.", asked_image=None, target_image=2)


@pytest.mark.parametrize(
    ("said", "shown"),
    [("Image3.", 2), ("It is in the second image", 1), ("I can not tell.", 0), ("Image9", 0)],
)
def test_group_grounding_looks_where_step_1_says_else_at_the_first(said: str, shown: int) -> None:
    _, second = turns(*polled(GROUP), "cot", said)
    assert second.images == (shown,)


# --- Scoring -------------------------------------------------------------------------------------


def sample_score(target: Instance, *texts: str, strategy: str = "cot") -> SampleScore:
    scorer = Scorer(
        PROTOCOLS["standard"], find_dialect("qwen2-vl"), find_strategy(strategy, "paper"), strategy
    )
    (question,) = polled(target)
    lines = {
        (question.id, turn): answer_line(question.id, turn=turn, text=text)
        for turn, text in enumerate(texts)
    }
    (sample,) = scorer.score([question], lines)
    return sample


def test_step_2_decides_and_step_1_alone_is_no_answer() -> None:
    assert sample_score(instance(), "A dog at (1,2),(3,4)", RIGHT).outcome is Outcome.HIT
    assert sample_score(instance(), RIGHT).outcome is Outcome.MODEL_ERROR


def test_step_1s_image_is_told_apart_from_step_2s_box() -> None:
    right = sample_score(GROUP, "Image3.", RIGHT)
    wrong = sample_score(GROUP, "Image1.", RIGHT)
    fallen_back = sample_score(GROUP, "I can not tell.", RIGHT)
    assert [each.prediction.named_image for each in (right, wrong, fallen_back)] == [2, 0, None]
    assert [each.flags for each in (right, wrong, fallen_back)] == [
        (),
        ("wrong_image",),
        ("wrong_image",),
    ]
    named = summarise_tasks([right, wrong, fallen_back], ["group_grounding"])
    assert named["group_grounding"].named_images.named == 2
    assert named["group_grounding"].named_images.right == 1


def test_an_image_shown_alone_needs_no_label() -> None:
    text = f"Image-1: {RIGHT}"
    assert sample_score(instance(), "A dog", text).outcome is Outcome.HIT
    assert sample_score(instance(), "A dog", text).flags == ()


def test_the_script_drops_signs_and_crosses_from_step_2_of_some_families() -> None:
    (question,) = polled(instance())
    lines = {
        (question.id, 0): answer_line(question.id, text="A dog"),
        (question.id, 1): answer_line(question.id, turn=1, text="(-200,x200),(600,600)"),
    }
    for strategy, outcome in (("cot", Outcome.HIT), ("mcot", Outcome.UNREADABLE)):
        scorer = Scorer(
            PROTOCOLS["released"], find_dialect("qwen2-vl"), find_strategy(strategy), strategy
        )
        assert scorer.score([question], lines)[0].outcome is outcome


def test_the_last_turn_that_grounds_a_box_decides_on_it() -> None:
    def verify(question: Question) -> Strategy:
        answer = yield Turn(Purpose.DIRECT, question.text, (0, 1, 2), (0,))
        yield Turn(Purpose.GROUND, f"You said {answer}. Answer again.", (0, 1, 2), (0,))

    (question,) = polled(instance())
    scorer = Scorer(PROTOCOLS["standard"], find_dialect("qwen2-vl"), verify)
    wrong, right = (answer_line(question.id, text=text) for text in ("(1,1),(2,2)", RIGHT))
    failed = answer_line(question.id, error="server error")
    for second, outcome in ((right, Outcome.HIT), (failed, Outcome.MODEL_ERROR)):
        lines = {(question.id, 0): wrong, (question.id, 1): second}
        assert scorer.score([question], lines)[0].outcome is outcome


def test_a_failure_on_the_way_costs_only_the_boxes_from_there_on() -> None:
    (question,) = EVALUATORS["all-at-once"](common_objects())
    scorer = Scorer(
        PROTOCOLS["standard"], find_dialect("qwen2-vl"), find_strategy("cot", "paper"), "cot"
    )
    lines = {
        (question.id, 0): answer_line(question.id, text="A dog"),
        (question.id, 1): answer_line(question.id, text="(0,100),(200,400)"),
        (question.id, 2): answer_line(question.id, error="server error"),
    }
    outcomes = [each.outcome for each in scorer.score([question], lines)]
    assert outcomes == [Outcome.HIT, Outcome.MODEL_ERROR, Outcome.MODEL_ERROR]


# --- Both forms ----------------------------------------------------------------------------------


def common_objects() -> list[Instance]:
    return [
        instance(
            id=f"common_object-{image}",
            index=image,
            question=f"Recognize and locate this object in the {image + 1}th image. ",
            target_image=image,
            asked_image=image,
            box=Box(0.1 * image, 0.1, 0.1 * image + 0.2, 0.4),
        )
        for image in range(3)
    ]


def test_all_at_once_describes_once_and_grounds_image_by_image_or_all_together() -> None:
    (question,) = EVALUATORS["all-at-once"](common_objects())
    single = turns(question, "cot", "A dog")
    assert [turn.images for turn in single] == [(0, 1, 2), (0,), (1,), (2,)]
    assert [turn.grounds for turn in single] == [(), (0,), (1,), (2,)]
    multi = turns(question, "mcot", "A dog")
    assert [turn.grounds for turn in multi] == [(), (0, 1, 2)]
    assert "A dog" in multi[1].text
    assert question.text in multi[1].text


def test_polling_shares_step_1_where_its_request_is_the_same() -> None:
    first_steps = {turns(each, "cot", "A dog")[0] for each in polled(*common_objects())}
    assert len(first_steps) == 1


def test_regions_are_described_one_by_one_and_grounded_together(original: Annotations) -> None:
    questions = EVALUATORS["all-at-once"](original.instances)
    question = next(each for each in questions if each.task == "region" and len(each.asked) == 2)
    generator = find_strategy("mcot", "paper")(question)
    first, second = next(generator), generator.send("a dog")
    grounding = generator.send("a cat.")
    assert "2th picture" in first.text
    assert "3th picture" in second.text
    assert "Region-1: a dog; Region-2: a cat" in grounding.text
    assert grounding.grounds == (0, 1)


def test_room_for_the_answer_grows_with_the_targets() -> None:
    (question,) = EVALUATORS["all-at-once"](common_objects())
    files = [ImageFile(name) for name in question.images]
    (turn,) = turns(question, "direct", "")
    request = ask(find_dialect("qwen2-vl"), turn, files)
    assert request.generation.max_new_tokens == 3 * 128
