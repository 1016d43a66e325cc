"""Two runs target by target: counts that add up, differences that follow, refusals that say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sample_scores import RIGHT, TRUTH, WRONG, instance, sample_score, scores_of

from migbench.errors import UsageError
from migbench.runs.settings import AnnotationSource
from migbench.scoring import (
    Comparison,
    Outcome,
    RunToCompare,
    SampleScore,
    compare,
    compare_groups,
    macro_average,
    summarise_tasks,
)

TASKS = ("diff", "region", "object_tracking")
ANSWERS = {True: RIGHT, False: WRONG, None: None}
ANSWERED: dict[tuple[str, bool | None], SampleScore] = {}

Marks = Sequence[tuple[str, bool | None]]
"""Every target's task, and whether it is hit; None where it has no answer."""


def side(
    label: str, marks: Marks, *, accept: bool = False, skip: int = 0, **changes: Any
) -> RunToCompare:
    """A run with these results; its first ``skip`` targets were not asked for."""
    samples = [
        sample_score(ANSWERS[hit], target=instance(id=f"target-{number}", index=number, task=task))
        for number, (task, hit) in enumerate(marks)
    ][skip:]
    tasks = summarise_tasks(samples, TASKS, accept_model_errors=accept)
    scores = scores_of(tasks, model=label, accepted_model_errors=accept, **changes)
    return RunToCompare(label, scores, samples, lambda target: target.index)


def two(first: Marks, second: Marks, **options: Any) -> Comparison:
    return compare(side("A", first, **options), side("B", second, **options))


def of_task(task: str, hits: str) -> list[tuple[str, bool | None]]:
    """Marks of one task: ``+`` a hit, ``-`` a miss, ``?`` no answer."""
    return [(task, {"+": True, "-": False, "?": None}[mark]) for mark in hits]


# --- what is counted ------------------------------------------------------------------------------


def test_targets_are_counted_by_who_hits_them() -> None:
    paired = two(of_task("diff", "+++--"), of_task("diff", "+--+-")).tasks["diff"]
    assert (paired.both, paired.wins, paired.losses, paired.neither) == (1, 1, 2, 1)
    assert (paired.n, paired.unanswered) == (5, 0)
    assert (paired.first, paired.second, paired.difference) == (60.0, 40.0, -20.0)


def test_other_groups_are_counted_like_tasks() -> None:
    first = of_task("diff", "+++--") + of_task("region", "+-+?")
    second = of_task("diff", "+--+-") + of_task("region", "-+++")
    sides = side("A", first), side("B", second)
    assert compare_groups(*sides, lambda each: each.task) == compare(*sides).tasks
    halves = compare_groups(*sides, lambda each: "early" if each.index < 3 else "late")
    assert [*halves] == ["early", "late"]
    early, late = halves["early"], halves["late"]
    assert (early.both, early.wins, early.losses, early.neither) == (1, 0, 2, 0)
    assert (late.both, late.wins, late.losses, late.neither) == (1, 2, 1, 1)
    assert (late.n, late.unanswered, late.first, late.difference) == (6, 1, None, None)


def test_the_macro_difference_weighs_tasks_alike() -> None:
    first = of_task("diff", "-") + of_task("region", "++++")
    second = of_task("diff", "+") + of_task("region", "+++-")
    macro = two(first, second).macro
    assert (macro.tasks, macro.n, macro.wins, macro.losses) == (2, 5, 1, 1)
    assert (macro.first, macro.second) == (50.0, 87.5)
    assert macro.difference == (100 - 25) / 2


def test_tasks_stand_in_the_order_of_the_first_runs_scores() -> None:
    marks = of_task("object_tracking", "+") + of_task("diff", "+") + of_task("region", "-")
    assert list(two(marks, marks).tasks) == list(TASKS)


def test_an_accuracy_is_the_runs_own_where_both_were_asked_the_same() -> None:
    marks = of_task("diff", "++-") + of_task("region", "+-")
    run = side("A", marks)
    comparison = compare(run, side("B", marks))
    assert {task: one.first for task, one in comparison.tasks.items()} == {
        task: scores.at_50 for task, scores in run.scores.tasks.items()
    }
    assert comparison.macro.first == run.scores.macro.at_50


# --- answers and targets that are missing ---------------------------------------------------------


def test_a_model_error_leaves_its_task_without_a_difference() -> None:
    first = of_task("diff", "+?-") + of_task("region", "-")
    second = of_task("diff", "+++") + of_task("region", "+")
    comparison = two(first, second)
    diff = comparison.tasks["diff"]
    assert (diff.both, diff.wins, diff.unanswered) == (1, 1, 1)
    assert (diff.first, diff.second, diff.difference) == (None, 100.0, None)
    assert comparison.tasks["region"].difference == 100.0
    assert (comparison.macro.difference, comparison.macro.second) == (None, 100.0)


def test_accepted_model_errors_are_misses() -> None:
    diff = two(of_task("diff", "+?-"), of_task("diff", "+++"), accept=True).tasks["diff"]
    assert (diff.wins, diff.unanswered) == (2, 0)
    assert diff.difference == pytest.approx(200 / 3)


def test_targets_of_one_run_alone_are_left_out_and_counted() -> None:
    marks = of_task("diff", "++") + of_task("region", "+-")
    comparison = compare(side("A", marks), side("B", marks, skip=2))
    assert list(comparison.tasks) == ["region"]
    assert (comparison.only_first, comparison.only_second) == (2, 0)
    assert comparison.macro.n == 2
    again = compare(side("B", marks, skip=2), side("A", marks))
    assert (again.only_first, again.only_second) == (0, 2)


def test_nothing_in_common_is_refused() -> None:
    first = side("A", of_task("diff", "+"))
    second = side("B", of_task("diff", "++"), skip=1)
    with pytest.raises(UsageError, match="A and B have no target in common"):
        compare(first, second)


# --- what may differ, and what may not ------------------------------------------------------------


def test_model_and_form_may_differ() -> None:
    changes = {
        "evaluator": "all-at-once",
        "strategy": "cot",
        "corrections": "y",
        "prompts": "paper",
    }
    marks = of_task("diff", "+")
    comparison = compare(side("A", marks), side("B", marks, **changes))
    assert comparison.macro.difference == 0


OTHER = AnnotationSource(path="b.json", sha256="1" * 64, version="revised", scale=1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"annotations": OTHER}, r"A \(original, 0{12}.*B \(revised, 1{12}.*annotations"),
        (
            {"annotations": msgspec.structs.replace(OTHER, sha256="0" * 64, version="original")},
            None,
        ),
        (
            {"annotations": msgspec.structs.replace(OTHER, sha256="0" * 64, scale=1000)},
            r"scale 1\).*scale 1000\).*annotations",
        ),
        ({"protocol": "released"}, r"A \(standard\) and B \(released\).*protocols"),
    ],
)
def test_other_annotations_or_protocols_are_refused_by_name(
    changes: dict[str, Any], named: str | None
) -> None:
    marks = of_task("diff", "+")
    first, second = side("A", marks), side("B", marks, **changes)
    if named is None:  # The same file elsewhere is the same file.
        assert compare(first, second).macro.n == 1
        return
    with pytest.raises(UsageError, match=named):
        compare(first, second)


# --- laws -----------------------------------------------------------------------------------------

results = st.lists(
    st.tuples(
        st.sampled_from(TASKS), st.sampled_from(list(ANSWERS)), st.sampled_from(list(ANSWERS))
    ),
    min_size=1,
    max_size=30,
)


def quick(label: str, marks: Marks, accept: bool) -> RunToCompare:
    """As `side`, from samples that need no answer to be read."""
    samples = [_sample(number, task, hit) for number, (task, hit) in enumerate(marks)]
    tasks = summarise_tasks(samples, TASKS, accept_model_errors=accept)
    template = side(label, of_task("diff", "+")).scores
    scores = msgspec.structs.replace(
        template, tasks=tasks, macro=macro_average(tasks), accepted_model_errors=accept
    )
    return RunToCompare(label, scores, samples, lambda target: target.index)


def _sample(number: int, task: str, hit: bool | None) -> SampleScore:
    if (task, hit) not in ANSWERED:
        ANSWERED[task, hit] = sample_score(ANSWERS[hit], target=instance(task=task))
    known = ANSWERED[task, hit]
    target = instance(id=f"target-{number}", index=number, task=task)
    return SampleScore(target, known.line, known.prediction, TRUTH, known.iou, known.outcome)


@given(results, st.booleans())
def test_wins_and_losses_are_the_difference(
    marks: list[tuple[str, bool | None, bool | None]], accept: bool
) -> None:
    comparison = compare(
        quick("A", [(task, first) for task, first, _ in marks], accept),
        quick("B", [(task, second) for task, _, second in marks], accept),
    )
    for paired in [*comparison.tasks.values(), comparison.macro]:
        counts = paired.both + paired.wins + paired.losses + paired.neither + paired.unanswered
        assert counts == paired.n
        assert (paired.difference is None) == (None in (paired.first, paired.second))
    for paired in comparison.tasks.values():
        assert (paired.difference is None) == (paired.unanswered > 0)
        if paired.difference is not None:
            assert paired.first is not None
            assert paired.second is not None
            assert paired.wins - paired.losses == pytest.approx(paired.n * paired.difference / 100)
            assert paired.difference == pytest.approx(paired.second - paired.first)
    if comparison.macro.difference is not None:
        assert comparison.macro.first is not None
        assert comparison.macro.second is not None
        assert comparison.macro.difference == pytest.approx(
            comparison.macro.second - comparison.macro.first
        )


@given(results, st.booleans())
def test_the_other_way_round_wins_are_losses(
    marks: list[tuple[str, bool | None, bool | None]], accept: bool
) -> None:
    first = quick("A", [(task, one) for task, one, _ in marks], accept)
    second = quick("B", [(task, one) for task, _, one in marks], accept)
    there, back = compare(first, second), compare(second, first)
    assert there.tasks.keys() == back.tasks.keys()
    for task in there.tasks:
        one, other = there.tasks[task], back.tasks[task]
        assert (one.wins, one.losses, one.first) == (other.losses, other.wins, other.second)
        assert (one.both, one.neither) == (other.both, other.neither)
        if one.difference is not None:
            assert other.difference == -one.difference


def test_the_quick_way_of_these_tests_is_the_real_one() -> None:
    marks = of_task("diff", "+-?") + of_task("region", "+")
    assert quick("A", marks, False).scores == side("A", marks).scores
    assert [each.outcome for each in quick("A", marks, False).samples] == [
        *(Outcome.HIT, Outcome.MISS, Outcome.MODEL_ERROR, Outcome.HIT)
    ]


def test_a_comparison_is_json_and_back() -> None:
    comparison = two(of_task("diff", "+-?"), of_task("diff", "-+-"))
    encoded = msgspec.json.encode(comparison)
    assert msgspec.json.decode(encoded, type=Comparison) == comparison
