"""Whole runs under the published protocols: the totals of the evaluators themselves come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from migbench.data.annotations import Annotations
from migbench.data.images import DataLocation
from migbench.models.resolving import resolve_model
from migbench.runs.execution import execute
from migbench.runs.importing import read_released, store_import
from migbench.runs.plan import make_plan
from migbench.runs.store import Run
from migbench.scoring import Bootstrap, Outcome, TaskScores
from migbench.scoring.scored_run import ScoredRun, score_run
from migbench.tasks import load_tasks

TASKS = [spec.key for spec in load_tasks()]
HITS_AT_HALF = {
    "diff": (370, 340),
    "view_diff": (42, 28),
    "common_object": (588, 565),
    "object_tracking": (371, 327),
    "multi_view": (169, 135),
    "region": (870, 765),
    "refer_grounding": (75, 67),
    "group_grounding": (404, 363),
    "reasoning": (51, 42),
    "correspondence": (43, 40),
}
"""Migician's on the revised file: with the y scaling, and as answered."""

Imports = Callable[[str, str], Run]


@pytest.fixture(scope="module")
def imported(
    shared: Path, revised: Annotations, tmp_path_factory: pytest.TempPathFactory
) -> Imports:
    """Imports a model's published raw answers as a run under a profile."""

    def run(folder: str, profile: str) -> Run:
        out = tmp_path_factory.mktemp(folder) / "run"
        answers = read_released(shared / "real_outputs" / folder, revised)
        assert store_import(answers, resolve_model(profile), revised, out, folder) == 4276
        return Run(out)

    return run


@pytest.fixture(scope="module")
def migician(imported: Imports) -> Run:
    return imported("migician", "migician")


@pytest.fixture(scope="module")
def scaled(migician: Run) -> ScoredRun:
    return score_run(migician, protocol="released")


@pytest.fixture(scope="module")
def unscaled(migician: Run) -> ScoredRun:
    return score_run(migician, protocol="released", corrections=False)


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, dict[str, float]]:
    """The totals at the end of Migician's files, by task."""
    return totals_of(shared / "real_outputs" / "migician")


def hits(scores: TaskScores, accuracy: float | None) -> float:
    assert accuracy is not None
    return accuracy * scores.n / 100


@pytest.mark.parametrize("task", TASKS)
def test_totals_are_those_of_the_published_files(
    task: str, scaled: ScoredRun, published: dict[str, dict[str, float]]
) -> None:
    scores, totals = scaled.scores.tasks[task], published[task]
    assert scores.n == totals["TOTAL"]
    assert hits(scores, scores.at_70) == pytest.approx(totals["IOU@0.7"])
    assert hits(scores, scores.at_50) == pytest.approx(totals["IOU@0.5"])
    assert hits(scores, scores.at_30) == pytest.approx(totals["IOU@0.3"])
    # AVE_IOU in the files is the sum.
    assert scores.mean_iou == pytest.approx(totals["AVE_IOU"] / totals["TOTAL"], abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_hits_with_and_without_the_y_scaling(
    task: str, scaled: ScoredRun, unscaled: ScoredRun
) -> None:
    counts = [run.scores.tasks[task].outcomes[Outcome.HIT] for run in (scaled, unscaled)]
    assert counts == list(HITS_AT_HALF[task])


def test_the_y_scaling_is_worth_eight_points_and_named(
    scaled: ScoredRun, unscaled: ScoredRun
) -> None:
    assert scaled.scores.macro.at_50 == pytest.approx(63.37, abs=0.005)
    assert scaled.scores.corrections == "y scaling ×1.05, ×1.10"
    assert unscaled.scores.macro.at_50 == pytest.approx(55.34, abs=0.005)
    assert unscaled.scores.corrections == "none"


def test_the_other_models_answers(imported: Imports) -> None:
    """Qwen2-VL-7B; its files' own totals come from a fork that reads several boxes differently."""
    scored = score_run(imported("qwen2_vl", "qwen2-vl-7b"), protocol="released")
    assert scored.scores.macro.at_50 == pytest.approx(30.64, abs=0.005)
    assert scored.scores.tasks["group_grounding"].outcomes[Outcome.HIT] == 335
    assert scored.scores.corrections == "none"


def totals_of(folder: Path) -> dict[str, dict[str, float]]:
    """The totals at the end of a model's files, by task."""
    totals: dict[str, dict[str, float]] = {}
    for path in folder.glob("*.json"):
        totals |= json.loads(path.read_bytes())[-1]
    return totals


def test_the_fork_that_made_them_gives_their_own_totals(shared: Path, imported: Imports) -> None:
    scores = score_run(imported("qwen2_vl", "qwen2-vl-7b"), protocol="univg").scores
    totals = totals_of(shared / "real_outputs" / "qwen2_vl")
    for task, one in scores.tasks.items():
        assert hits(one, one.at_70) == pytest.approx(totals[task]["IOU@0.7"]), task
        assert hits(one, one.at_50) == pytest.approx(totals[task]["IOU@0.5"]), task
        assert hits(one, one.at_30) == pytest.approx(totals[task]["IOU@0.3"]), task
        assert one.mean_iou == pytest.approx(totals[task]["AVE_IOU"] / one.n, abs=1e-9), task
    assert scores.macro.at_50 == pytest.approx(30.02, abs=0.005)
    assert scores.tasks["group_grounding"].outcomes[Outcome.HIT] == 310
    assert scores.protocol == "univg"


def test_scores_name_protocol_annotations_and_the_whole_macro(scaled: ScoredRun) -> None:
    scores = scaled.scores
    assert scores.protocol == "released"
    assert scores.annotations.version == "revised"
    assert list(scores.tasks) == TASKS
    assert (scores.macro.tasks, scores.macro.n) == (10, 4276)


def test_image_level_accuracy_of_the_answers_that_name_an_image(migician: Run) -> None:
    scores = score_run(migician, bootstrap=Bootstrap(draws=200)).scores
    group = scores.tasks["group_grounding"]
    assert group.counted == {"image_accuracy": 189}
    assert group.image_accuracy == pytest.approx(100 * 185 / 189)
    interval, of_hits = group.interval("image_accuracy"), group.interval()
    assert interval is not None
    assert of_hits is not None
    assert (interval.method, of_hits.method) == ("bootstrap", "bootstrap")
    assert interval.low < group.image_accuracy < interval.high
    others = (one for key, one in scores.tasks.items() if key != "group_grounding")
    assert {one.image_accuracy for one in others} == {None}


# --- the whole image as the answer to everything --------------------------------------------------

WHOLE_IMAGE = {
    "diff": 9.85,
    "view_diff": 0.00,
    "common_object": 26.47,
    "object_tracking": 2.18,
    "multi_view": 1.04,
    "region": 0.00,
    "refer_grounding": 1.01,
    "group_grounding": 15.83,
    "reasoning": 0.99,
    "correspondence": 0.85,
}
"""Acc@0.5 of (0,0),(999,999) on the original file; Table 10 of the paper prints four of these."""


def test_the_whole_image_baseline_needs_no_images(original: Annotations, tmp_path: Path) -> None:
    plan = make_plan(resolve_model("whole-image"), DataLocation(original.path, images=None))
    progress = execute(plan, tmp_path / "run")
    run = Run(tmp_path / "run")
    scores = score_run(run, protocol="released").scores
    assert (progress.failed, run.manifest.status) == (0, "complete")
    assert {task: one.at_50 for task, one in scores.tasks.items()} == pytest.approx(
        WHOLE_IMAGE, abs=0.005
    )
    assert scores.annotations.version == "original"
