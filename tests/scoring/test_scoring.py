"""From samples targets to scores, and the JSON that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.data_files import record, write_annotations
from support.sample_scores import RIGHT, TRUTH, WRONG, instance, sample_score

from migbench.boxes import Box
from migbench.data.annotations import read_annotations
from migbench.errors import DataError
from migbench.messages import Answer
from migbench.models.resolving import resolve_model
from migbench.runs.importing import Imported, store_import
from migbench.runs.store import Run
from migbench.scoring import PROTOCOLS, Flag, Outcome, SampleScore, macro_average, summarise_tasks
from migbench.scoring.scored_run import score_run

# --- scores ---------------------------------------------------------------------------------------


def answers(task: str, *texts: str | None) -> list[SampleScore]:
    return [sample_score(text, target=instance(id=f"{task}-{text}", task=task)) for text in texts]


def test_accuracies_are_in_percent_at_three_thresholds_and_the_mean_iou_is_a_fraction() -> None:
    whole = instance(box=Box(0, 0, 1, 1))
    ious = (0.2, 0.3, 0.5, 0.7, 1.0)
    samples = [sample_score(f"(0,0),({iou * 1000:.0f},1000)", target=whole) for iou in ious]
    (scores,) = summarise_tasks(samples, ["common_object"]).values()
    assert (scores.at_30, scores.at_50, scores.at_70) == (80, 60, 40)
    assert scores.mean_iou == pytest.approx(0.54)
    assert scores.n == 5


def test_unreadable_answers_count_as_not_hit() -> None:
    samples = answers("diff", RIGHT, "left", "I cannot find it.", WRONG)
    (scores,) = summarise_tasks(samples, ["diff"]).values()
    assert scores.at_50 == 25
    assert scores.outcomes == {
        Outcome.MODEL_ERROR: 0,
        Outcome.TRUNCATED: 0,
        Outcome.REFUSED: 1,
        Outcome.UNREADABLE: 1,
        Outcome.MISSING: 0,
        Outcome.HIT: 1,
        Outcome.MISS: 1,
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("text", ["", RIGHT, "The response was filtered."])
def test_what_a_filter_took_away_is_refused_under_every_protocol(text: str, protocol: str) -> None:
    sample = sample_score(text, protocol=protocol, refused=True)
    assert (sample.outcome, sample.iou) == (Outcome.REFUSED, 0.0)


def test_the_macro_average_is_the_unweighted_mean_of_the_tasks() -> None:
    samples = [*answers("diff", RIGHT, WRONG, WRONG, "left"), *answers("region", RIGHT)]
    macro = macro_average(summarise_tasks(samples, ["diff", "region"]))
    assert macro.at_30 == macro.at_50 == macro.at_70 == (25 + 100) / 2
    assert macro.mean_iou == pytest.approx((0.25 + 1) / 2)
    assert (macro.tasks, macro.n) == (2, 5)
    assert macro.outcomes[Outcome.HIT] == 2


def test_tasks_stand_in_the_order_asked_for_and_those_without_targets_are_left_out() -> None:
    samples = [*answers("diff", RIGHT), *answers("region", RIGHT)]
    assert list(summarise_tasks(samples, ["region", "reasoning", "diff"])) == ["region", "diff"]


def test_a_model_error_leaves_its_task_and_the_macro_average_without_accuracy() -> None:
    samples = [*answers("diff", RIGHT, None), *answers("region", RIGHT)]
    scores = summarise_tasks(samples, ["diff", "region"])
    macro = macro_average(scores)
    for figures in (scores["diff"], macro):
        assert (figures.at_30, figures.at_50, figures.at_70, figures.mean_iou) == (None,) * 4
        assert figures.outcomes[Outcome.MODEL_ERROR] == 1
    assert scores["region"].at_50 == 100


def test_an_accepted_model_error_counts_as_not_hit() -> None:
    samples = [*answers("diff", RIGHT, None), *answers("region", RIGHT)]
    scores = summarise_tasks(samples, ["diff", "region"], accept_model_errors=True)
    assert scores["diff"].at_50 == 50
    assert scores["diff"].mean_iou == pytest.approx(0.5)
    assert macro_average(scores).at_50 == 75


def test_named_images_are_counted_and_compared_with_the_targets() -> None:
    samples = answers(
        "group_grounding",
        f"It's in the second image. {RIGHT}",
        f"{RIGHT} in Image-2",
        f"It's in the first image. {RIGHT}",
        "Not visible in the second image.",
        RIGHT,
    )
    (scores,) = summarise_tasks(samples, ["group_grounding"]).values()
    assert (scores.named_images.named, scores.named_images.right) == (4, 3)


def test_repaired_truths_are_counted() -> None:
    targets = [instance(), instance(box=Box(0.6, 0.2, 0.2, 0.6)), instance(box=Box(0, 0, 1, 1.04))]
    for protocol, repaired in {"standard": 2, "released": 0, "univg": 0}.items():
        samples = [sample_score(RIGHT, target=target, protocol=protocol) for target in targets]
        (scores,) = summarise_tasks(samples, ["common_object"]).values()
        assert scores.repaired_truths == repaired


# --- a stored run, and the JSON that it becomes ---------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two instances of one task, one answered and one not."""
    asked = {"question": "Compare them and find the difference in the second image."}
    path = write_annotations(
        tmp_path / "data.json",
        record(answer=[*TRUTH], **asked),
        record(answer=[*TRUTH], images=["c.png", "d.png"], **asked),
    )
    annotations = read_annotations(path)
    first, second = annotations.instances
    imported = [Imported(first, Answer(RIGHT)), Imported(second, None, error="server gone")]
    store_import(imported, resolve_model("migician"), annotations, tmp_path / "run", "a test")
    return Run(tmp_path / "run")


def as_json(run: Run, **options: Any) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(score_run(run, **options).scores)
    )
    return content


FIGURES = {"acc@0.3", "acc@0.5", "acc@0.7", "mean_iou", "n", "outcomes"}


def test_the_json_has_every_key_always(run: Run) -> None:
    scores = as_json(run)
    assert {"protocol", "annotations", "corrections", "tasks", "macro"} <= scores.keys()
    for figures in (scores["macro"], scores["tasks"]["diff"]):
        assert figures.keys() >= FIGURES
        assert figures["acc@0.5"] is None
        assert list(figures["outcomes"]) == [outcome.value for outcome in Outcome]
        assert figures["outcomes"]["model_error"] == 1
        assert figures["n"] == 2
    assert set(scores["tasks"]["diff"]["flags"]) == set(Flag)


def test_the_json_says_how_it_was_scored(run: Run) -> None:
    standard = as_json(run, accept_model_errors=True)
    assert standard["protocol"] == "standard"
    assert standard["corrections"] == "y scaling ×1.05, ×1.10"
    assert standard["annotations"]["version"] == "custom"
    assert standard["accepted_model_errors"]
    assert standard["tasks"]["diff"]["acc@0.5"] == 50
    released = as_json(run, protocol="released", corrections=False)
    assert (released["protocol"], released["corrections"]) == ("released", "none")


def test_a_run_is_not_scored_on_another_annotation_file(run: Run, tmp_path: Path) -> None:
    other = write_annotations(tmp_path / "other.json", record(answer=[0, 0, 1, 1]))
    with pytest.raises(DataError, match="must not be mixed"):
        score_run(run, annotations=other)
