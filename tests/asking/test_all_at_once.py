"""All at once: one question for all targets of an image set, scored target by target."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answer_lines import answer_line
from support.sample_scores import instance

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Asked, Question
from migbench.asking.strategies import find_strategy
from migbench.boxes import Box
from migbench.data.annotations import Annotations, Instance
from migbench.dialects import FoundBox, find_dialect
from migbench.runs.answer_lines import AnswerLine
from migbench.scoring import PROTOCOLS, Outcome, SampleScore, Scorer
from migbench.scoring.matching import match_boxes
from migbench.tasks import Noun

SCORER = Scorer(PROTOCOLS["standard"], find_dialect("qwen2-vl"), find_strategy("direct"))


def target(image: int, box: Box) -> Instance:
    """The common object in one of three images (from 1)."""
    return instance(
        id=f"common_object-{image}",
        index=image - 1,
        question=f"Locate this object in the {image}th image. ",
        target_image=image - 1,
        asked_image=image - 1,
        box=box,
    )


BOXES = (Box(0.1, 0.1, 0.2, 0.2), Box(0.3, 0.3, 0.5, 0.5), Box(0.6, 0.6, 0.9, 0.9))
TARGETS = [target(image, box) for image, box in enumerate(BOXES, start=1)]
A, B, C = "(100,100),(200,200)", "(300,300),(500,500)", "(600,600),(900,900)"


def asked_at_once(targets: Sequence[Instance] = TARGETS) -> Question:
    (question,) = EVALUATORS["all-at-once"](targets)
    return question


def sample_score(
    text: str, targets: Sequence[Instance] = TARGETS, **line: object
) -> list[SampleScore]:
    question = asked_at_once(targets)
    lines = {(question.id, 0): answer_line(question.id, text=text, **line)}  # type: ignore[arg-type]
    return SCORER.score([question], lines)


def outcomes(text: str, **line: object) -> list[str]:
    return [str(sample.outcome) for sample in sample_score(text, **line)]


# --- Questions -----------------------------------------------------------------------------------


def test_the_real_file_gives_910_questions_for_2857_targets(original: Annotations) -> None:
    questions = list(EVALUATORS["all-at-once"](original.instances))
    several = [each for each in questions if "-all-" in each.id]
    counts = {
        task: sum(question.task == task for question in several)
        for task in ("common_object", "object_tracking", "multi_view", "region")
    }
    assert counts == {
        "common_object": 201,
        "object_tracking": 110,
        "multi_view": 100,
        "region": 499,
    }
    assert sum(len(question.targets) for question in several) == 2857
    assert len({question.id for question in questions}) == len(questions)


def test_both_forms_score_the_same_instances(original: Annotations) -> None:
    polled, at_once = (
        {
            target.id
            for question in EVALUATORS[form](original.instances)
            for target in question.targets
        }
        for form in ("polling", "all-at-once")
    )
    assert polled == at_once == set(original.by_id)


def test_tasks_with_one_target_a_set_ask_the_same_in_both_forms(original: Annotations) -> None:
    single = [
        each
        for each in original.instances
        if each.task not in {"common_object", "object_tracking", "multi_view", "region"}
    ]
    assert list(EVALUATORS["all-at-once"](single)) == list(EVALUATORS["polling"](single))


def test_a_question_asks_for_every_image_or_region(original: Annotations) -> None:
    for question in EVALUATORS["all-at-once"](original.instances):
        if question.task == "region":
            assert {asked.noun for asked in question.asked} == {Noun.REGION}
            assert [asked.number for asked in question.asked] == list(
                range(1, len(question.images))
            )
        elif question.task in ("object_tracking", "multi_view"):
            numbers = [asked.number for asked in question.asked]
            assert numbers == list(range(2, len(question.images) + 1))
            assert "<|box_start|>" in question.text


def test_duplicate_instances_share_a_box(original: Annotations) -> None:
    shared = [
        asked
        for question in EVALUATORS["all-at-once"](original.instances)
        for asked in question.asked
        if len(asked.instances) > 1
    ]
    assert [len(asked.instances) for asked in shared] == [2, 2]


def test_an_instance_missing_from_the_data_changes_no_label() -> None:
    assert [
        each.outcome
        for each in sample_score(f"Image-1: {A} Image-3: {C}", [TARGETS[0], TARGETS[2]])
    ] == [
        Outcome.HIT,
        Outcome.HIT,
    ]


# --- Answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"Image-1: {A} Image-2: {B} Image-3: {C}",
        f"Image-3: {C}\nImage-1: {A}\nImage-2: {B}",
        f"first image {A}, second image {B}, third image {C}",
        f"{A} in the first image, {B} in the second image and {C} in the third image.",
        f"第一张图{A}，第三张图{C}，第二张图{B}",
        f"{A}\n{B}\n{C}",
    ],
)
def test_boxes_go_where_their_labels_say_else_by_order(text: str) -> None:
    assert outcomes(text) == ["hit", "hit", "hit"]


def test_a_partial_answer_keeps_what_it_has() -> None:
    assert outcomes(f"Image-2: {B}") == ["missing", "hit", "missing"]
    assert outcomes(A) == ["hit", "missing", "missing"]


def test_a_truncated_answer_keeps_its_complete_boxes() -> None:
    assert outcomes(f"{A}\n{B}\n(600,60", truncated=True) == ["hit", "hit", "missing"]
    assert outcomes("(100,1", truncated=True) == ["truncated"] * 3


def test_boxes_too_many_are_flagged_and_change_no_hit() -> None:
    samples = sample_score(f"{A}\n{B}\n{C}\n{A}")
    assert [each.outcome for each in samples] == [Outcome.HIT] * 3
    assert all("extra_boxes" in each.flags for each in samples)


def test_of_one_image_named_twice_the_first_box_counts() -> None:
    assert outcomes(f"Image-1: {A} Image-1: {B} Image-2: {B} Image-3: {C}") == ["hit"] * 3


def test_labels_that_name_no_image_of_the_set_are_of_no_use() -> None:
    assert outcomes(f"Image-7: {A} Image-8: {B} Image-9: {C}") == ["missing"] * 3


def test_a_refusal_and_nonsense_hold_for_every_target() -> None:
    assert outcomes("Sorry, I cannot find it.") == ["refused"] * 3
    assert outcomes("a dog") == ["unreadable"] * 3


def test_only_the_final_answer_counts_however_thinking_is_nested() -> None:
    drafts = f"<think>Image-1: {C} <think>{B}</think> so {B}</think>"
    assert (
        outcomes(f"{drafts}<answer>Image-1: {A} Image-2: {B} Image-3: {C}</answer>") == ["hit"] * 3
    )


def test_ten_thousand_boxes_are_read_in_bounded_time() -> None:
    began = time.process_time()
    assert outcomes("\n".join([A, B, C] + [A] * 10_000)) == ["hit"] * 3
    assert outcomes(" ".join(f"Image-{n % 9 + 1}: {A}" for n in range(10_000)))[0] == "hit"
    assert time.process_time() - began < 5


def test_region_answers_are_matched_by_region() -> None:
    regions = [
        replace(
            each,
            task="region",
            question=f"Please locate the {number}th region picture in the source image. ",
            target_image=0,
            asked_image=0,
            images=("a", "b", "c", "d"),
        )
        for number, each in enumerate(TARGETS, start=1)
    ]
    labelled = sample_score(f"Region-3: {C} Region-1: {A} the second region: {B}", regions)
    assert [each.outcome for each in labelled] == [Outcome.HIT] * 3
    assert not any(each.flags for each in labelled)


def test_pixels_without_labels_are_those_of_the_image_whose_turn_it_is() -> None:
    pixels = replace(SCORER, dialect=find_dialect("qwen2.5-vl"))
    question = asked_at_once()
    sizes = [(280, 280), (560, 280), (280, 560)]
    written = [
        [round(edge * side) for edge, side in zip(box, (*size, *size), strict=True)]
        for box, size in zip(BOXES, sizes, strict=True)
    ]
    line = answer_line(question.id, text=" ".join(map(str, written)), sizes=sizes)
    samples = pixels.score([question], {(question.id, 0): line})
    assert [each.outcome for each in samples] == [Outcome.HIT] * 3


# --- Laws ----------------------------------------------------------------------------------------


@given(st.permutations(range(5)), st.sets(st.integers(0, 4)))
def test_matching_ignores_the_order_of_labelled_boxes(order: list[int], left_out: set[int]) -> None:
    asked = [Asked(Noun.IMAGE, number, (TARGETS[0],)) for number in range(1, 6)]
    found = [
        FoundBox(Box(0, 0, (label + 1) / 10, 1), label, 0, 0)
        for label in range(5)
        if label not in left_out
    ]
    shuffled = [box for label in order for box in found if box.label == label]
    assert match_boxes(shuffled, asked) == match_boxes(found, asked)


@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=8), st.integers(1, 6))
def test_each_box_is_used_once_at_most(labels: list[int | None], count: int) -> None:
    asked = [Asked(Noun.IMAGE, number, (TARGETS[0],)) for number in range(1, count + 1)]
    found = [FoundBox(Box(0, 0, 0, 0), label, place, 0) for place, label in enumerate(labels)]
    matched = [box for box in match_boxes(found, asked) if box is not None]
    assert len({box.start for box in matched}) == len(matched)
    assert all(box in found for box in matched)


@pytest.mark.parametrize("form", ["polling", "all-at-once"])
def test_a_perfect_model_scores_a_hundred_in_both_forms(form: str, original: Annotations) -> None:
    questions = list(EVALUATORS[form](original.instances))
    lines = {(question.id, 0): _perfect(question) for question in questions}
    samples = SCORER.score(questions, lines)
    assert len(samples) == len(original.instances)
    assert {each.outcome for each in samples} == {Outcome.HIT}


def _perfect(question: Question) -> AnswerLine:
    boxes = []
    for asked in question.asked:
        x1, y1, x2, y2 = (round(1000 * edge) for edge in asked.instances[0].box.repaired())
        boxes.append(f"{asked.noun.capitalize()}-{asked.number}: ({x1},{y1}),({x2},{y2})")
    return answer_line(question.id, text="\n".join(itertools.chain(reversed(boxes))))
