"""Scenes as training examples: all objects are named, targets asked for one by one or at once."""

from __future__ import annotations

import pytest

from migbench.boxes import Box
from migbench.dialects import find_dialect, parse
from migbench.errors import UsageError
from migbench.tasks import Noun, find_task
from migtrain.miniature.scenes import GROUP, SINGLE, SceneSource, training_plan


def test_where_things_have_names_all_are_asked_for_and_told_apart() -> None:
    for number in range(12):
        for task in (SINGLE, GROUP):
            planned = training_plan(task, number, seed=3)
            objects = [
                (place, (n,))
                for place, page in enumerate(planned.pages)
                for n in range(len(page.items))  # type: ignore[union-attr]
            ]
            assert [(ask.page, ask.target) for ask in planned.asks] == objects
            phrases = [ask.wording.split("<|object_ref_start|>")[1] for ask in planned.asks]
            assert len(set(phrases)) == len(phrases)
    assert len(training_plan(SINGLE, 1, seed=3).pages) == 1


@pytest.mark.parametrize("task", ["common_object", "object_tracking", "multi_view", "region"])
def test_an_answer_to_all_at_once_is_read_back_as_its_boxes(task: str) -> None:
    """Each box is read for the image or region that it is named with."""
    form = find_task(task).all_at_once
    assert form is not None
    for number in range(4):
        one_by_one = SceneSource(task, seed=5, turns=99).example(number).conversation
        at_once = SceneSource(task, seed=5, at_once=True).example(number).conversation
        (each_round,) = at_once.rounds
        assert each_round.question.count("<image>") == len(at_once.images)
        expected = {form.number(each.question): only_box(each.answer) for each in one_by_one.rounds}
        reading = parse(find_dialect("qwen2-vl"), each_round.answer, label_kind=form.noun)
        assert {(found.label or 0) + 1: found.box for found in reading.boxes} == expected


def only_box(answer: str) -> Box:
    (found,) = parse(find_dialect("qwen2-vl"), answer, label_kind=Noun.IMAGE).boxes
    return found.box


@pytest.mark.parametrize("task", ["diff", SINGLE])
def test_tasks_with_one_target_are_not_asked_at_once(task: str) -> None:
    with pytest.raises(UsageError, match=task):
        SceneSource(task, seed=0, at_once=True)


@pytest.mark.parametrize("at_once", [False, True])
def test_coarse_boxes_are_written_in_steps_and_near_the_true_ones(at_once: bool) -> None:
    fine, coarse = (
        SceneSource("region", seed=5, turns=99, at_once=at_once, box_step=box_step).example(2)
        for box_step in (1, 50)
    )
    pairs = zip(fine.conversation.rounds, coarse.conversation.rounds, strict=True)
    for exact, stepped in pairs:
        assert exact.question == stepped.question
        for one, other in zip(boxes_of(exact.answer), boxes_of(stepped.answer), strict=True):
            for true, written in zip(edges_of(one), edges_of(other), strict=True):
                assert written % 50 == 0 or written == 999
                assert abs(true - written) <= 25


def boxes_of(answer: str) -> list[Box]:
    parsed = parse(find_dialect("qwen2-vl"), answer, label_kind=Noun.REGION)
    return [found.box for found in parsed.boxes]


def edges_of(box: Box) -> list[int]:
    return [round(1000 * edge) for edge in (box.x1, box.y1, box.x2, box.y2)]
