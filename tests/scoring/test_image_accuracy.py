"""Image-level accuracy: whether answers name the image that holds the target."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.answer_lines import answer_line
from support.command_line import migbench
from support.report_runs import make_data, make_run, small_records, truth
from support.sample_scores import RIGHT, WRONG, instance

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import find_strategy
from migbench.data.annotations import Instance
from migbench.dialects import find_dialect
from migbench.scoring import METRICS, PROTOCOLS, SHARES, Scorer, TaskScores, summarise_tasks
from migbench.scoring.summary import macro_average

GROUP = [
    instance(
        id=f"group_grounding-{number}",
        index=number,
        task="group_grounding",
        question="Find the dog.",
        asked_image=None,
    )
    for number in range(4)
]
"""Four targets in the second of three images; the questions leave open in which."""
COMMON = [
    instance(
        id=f"common_object-{image}",
        index=image,
        question=f"Locate the dog in the {image + 1}th image.",
        target_image=image,
        asked_image=image,
    )
    for image in range(3)
]
"""One in each of three images."""


def scores_of(
    targets: Sequence[Instance],
    *answers: Sequence[str],
    evaluator: str = "polling",
    strategy: str = "direct",
    protocol: str = "standard",
    accept: bool = False,
) -> TaskScores:
    """Of one task, where each question is answered by the texts of its turns."""
    scorer = Scorer(
        PROTOCOLS[protocol], find_dialect("qwen2-vl"), find_strategy(strategy), strategy
    )
    questions = list(EVALUATORS[evaluator](targets))
    lines = {
        (question.id, turn): answer_line(question.id, turn=turn, text=text)
        for question, texts in zip(questions, answers, strict=True)
        for turn, text in enumerate(texts)
    }
    samples = scorer.score(questions, lines)
    (scores,) = summarise_tasks(samples, [targets[0].task], accept_model_errors=accept).values()
    return scores


def image_accuracy(scores: TaskScores) -> tuple[float | None, int]:
    return scores.image_accuracy, scores.counted["image_accuracy"]


def test_group_grounding_counts_answers_that_name_an_image_whatever_their_box() -> None:
    scores = scores_of(
        GROUP, [f"Image-2: {WRONG}"], [f"Image-1: {RIGHT}"], [RIGHT], ["Only image 2 shows one."]
    )
    assert image_accuracy(scores) == (pytest.approx(200 / 3), 3)
    assert scores.at_50 == 50


def test_a_question_that_says_the_image_makes_naming_it_no_merit() -> None:
    assert image_accuracy(scores_of([instance()], [f"Image-2: {RIGHT}"])) == (None, 0)


@pytest.mark.parametrize("strategy", ["cot", "mcot"])
def test_a_first_step_that_asks_for_the_image_counts_every_answer(strategy: str) -> None:
    steps = [("Image2.", WRONG), ("Image1.", RIGHT), ("I can not tell.", RIGHT), ("Image2", RIGHT)]
    assert image_accuracy(scores_of(GROUP, *steps, strategy=strategy)) == (50, 4)


@pytest.mark.parametrize(
    ("answer", "accuracy"),
    [
        pytest.param(f"Image-1: {RIGHT} Image-2: {WRONG} Image-3: {WRONG}", 100, id="all-named"),
        pytest.param(f"Image-2: {RIGHT} Image-3: {WRONG}", 200 / 3, id="one-missing"),
        pytest.param(f"{RIGHT} {RIGHT} {RIGHT}", 0, id="none-named"),
        pytest.param("I can not see image 2.", 0, id="no-box"),
    ],
)
@pytest.mark.parametrize("strategy", ["direct", "mcot"])
def test_all_at_once_asks_to_name_every_image(answer: str, accuracy: float, strategy: str) -> None:
    steps = [answer] if strategy == "direct" else ["a dog", answer]
    scores = scores_of(COMMON, steps, evaluator="all-at-once", strategy=strategy)
    assert image_accuracy(scores) == (pytest.approx(accuracy), 3)


def test_regions_are_no_images() -> None:
    region = instance(id="region-1", task="region", target_image=0, asked_image=0)
    scores = scores_of([region], [f"Region-1: {RIGHT}"], evaluator="all-at-once")
    assert image_accuracy(scores) == (None, 0)


@pytest.mark.parametrize("protocol", ["released", "univg"])
def test_the_published_protocols_read_no_names_but_step_1s(protocol: str) -> None:
    together = scores_of(COMMON, [f"Image-1: {RIGHT}"], evaluator="all-at-once", protocol=protocol)
    assert image_accuracy(together) == (None, 0)
    stepped = scores_of(GROUP[:1], ["Image2.", WRONG], strategy="cot", protocol=protocol)
    assert image_accuracy(stepped) == (100, 1)


def test_unanswered_targets_leave_it_without_a_number_or_do_not_count() -> None:
    answers: list[list[str]] = [["Image2.", RIGHT], ["Image2.", RIGHT], ["Image1.", RIGHT], []]
    scores = scores_of(GROUP, *answers, strategy="cot")
    assert (scores.image_accuracy, scores.at_50) == (None, None)
    accepted = scores_of(GROUP, *answers, strategy="cot", accept=True)
    assert image_accuracy(accepted) == (pytest.approx(200 / 3), 3)
    assert accepted.at_50 == 75


def test_its_macro_average_is_that_of_the_tasks_that_have_one() -> None:
    tasks = {
        "group_grounding": scores_of(GROUP, *[[f"Image-2: {RIGHT}"]] * 4),
        "common_object": scores_of(COMMON, *[[RIGHT]] * 3),
    }
    macro = macro_average(tasks)
    assert (macro.image_accuracy, macro.counted, macro.at_50) == (100, {"image_accuracy": 4}, 100)
    assert macro_average({"common_object": tasks["common_object"]}).image_accuracy is None


# --- on the command line --------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that find every target; the second names a wrong image for one of three kites."""
    records = small_records()
    kite = next(each for each in records if each["task"] == "group_grounding")
    records += [{**kite, "question": f"{kite['question']} {number}"} for number in (1, 2)]
    data = make_data(tmp_path / "data", records)
    wrong = max(each.id for each in data.instances if each.task == "group_grounding")

    def named(each: Instance, run: str) -> str:
        astray = run == "b" and each.id == wrong
        return f"Image-{each.target_image + (2 if astray else 1)}: {truth(each)}"

    for run in ("a", "b"):
        make_run(tmp_path / run, data, lambda each, run=run: named(each, run))
    return tmp_path / "a", tmp_path / "b"


def test_score_prints_it_with_its_interval_and_writes_it(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = migbench("score", runs[1], "--json", tmp_path / "s.json")
    assert re.search(r"^Task .* mIoU +Image \[95 %\] +hit", done.out, re.MULTILINE)
    assert re.search(r"^GG +3 .* 66\.67 ", done.out, re.MULTILINE)
    assert "Image: answers that name the right image, of the 3 that name one or were" in done.out
    tasks = json.loads((tmp_path / "s.json").read_text())["tasks"]
    assert tasks["group_grounding"]["image_accuracy"] == pytest.approx(200 / 3)
    assert tasks["group_grounding"]["counted"] == {"image_accuracy": 3}
    assert tasks["common_object"]["image_accuracy"] is None
    assert "image_accuracy" not in tasks["common_object"]["intervals"]


def test_table_prints_it_in_every_layout(runs: tuple[Path, Path]) -> None:
    rows = csv.DictReader(
        migbench("table", *runs, "--metric", "image_accuracy", "--format", "csv").out.splitlines()
    )
    found = [(row["group_grounding"], row["common_object"]) for row in rows]
    assert found == [("100.0", ""), ("66.6667", "")]
    done = migbench("table", *runs, "--metric", "image_accuracy", "--published")
    assert done.status == 2
    assert "the published figures are acc@0.5" in done.err


def test_compare_pairs_the_targets_that_count_in_both(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "c.json"
    done = migbench("compare", *runs, "--metric", "image_accuracy", "--json", file)
    assert "Compared are the targets that count for it in both runs." in done.out
    (comparison,) = json.loads(file.read_text())["comparisons"]
    assert comparison["metric"] == "image_accuracy"
    assert list(comparison["tasks"]) == ["group_grounding"]
    task = comparison["tasks"]["group_grounding"]
    assert (task["n"], task["both"], task["losses"], task["wins"]) == (3, 2, 1, 0)
    assert task["difference"] == pytest.approx(-100 / 3)


def test_every_metric_has_its_column_and_its_options(runs: tuple[Path, Path]) -> None:
    for name, metric in METRICS.items():
        assert metric.title in migbench("score", runs[0]).out
        assert migbench("table", runs[0], "--metric", name).status == 0
    for name in SHARES:
        assert migbench("compare", *runs, "--metric", name).status == 0
