"""FiftyOne's folder: one sample a target, as `fiftyone.Sample.from_dict` takes it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.export_runs import Exportable, with_boxes

from migbench.boxes import Box
from migbench.data.images import ImageFolder
from migbench.errors import UsageError
from migbench.reporting.export import Wishes, write_export
from migbench.scoring.scored_run import ScoredRun


def exported(out: Path, scored: ScoredRun, **wishes: Any) -> list[dict[str, Any]]:
    write_export("fiftyone", scored, out, Wishes(**wishes))
    content = json.loads((out / "samples.json").read_bytes())
    assert content.keys() == {"samples"}
    samples: list[dict[str, Any]] = content["samples"]
    return samples


def box_of(detections: dict[str, Any]) -> list[float] | None:
    """The box of a label field with one detection, or None where it has none."""
    assert detections["_cls"] == "Detections"
    if not detections["detections"]:
        return None
    (one,) = detections["detections"]
    assert one["_cls"] == "Detection"
    box: list[float] = one["bounding_box"]
    return box


def test_a_sample_is_a_target_with_truth_and_prediction(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored("part")
    samples = exported(tmp_path / "out", scored, images=run.images)
    for sample, scored_sample in zip(samples, scored.samples, strict=True):
        instance = scored_sample.instance
        assert sample["filepath"] == str(
            run.images.root.resolve() / instance.images[instance.target_image]
        )
        assert sample["tags"] == [sample["task"]] == [instance.task]
        left, top, width, height = box_of(sample["ground_truth"]) or ()
        assert (left, top, left + width, top + height) == pytest.approx(scored_sample.truth)
        predicted = box_of(sample["predictions"])
        assert (predicted is None) == (scored_sample.prediction.box is None)
        if predicted is not None:
            left, top, width, height = predicted
            assert (left, top, left + width, top + height) == pytest.approx(
                scored_sample.prediction.box
            )
        assert sample["answer"] == (scored_sample.line.text if scored_sample.line else None)
        assert (sample["iou"], sample["outcome"]) == (
            scored_sample.iou,
            scored_sample.outcome.value,
        )
        assert sample["image_set"][sample["image_number"] - 1] in sample["filepath"]
        assert sample["question"] == instance.question
    assert len({sample["instance"] for sample in samples}) == 30
    assert {sample["answer"] for sample in samples} >= {None, "=no box"}


def test_metadata_has_no_version_which_would_promise_database_records(
    run: Exportable, tmp_path: Path
) -> None:
    exported(tmp_path / "out", run.scored(), images=run.images)
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_bytes())
    assert metadata.keys() == {"media_type", "info"}
    assert metadata["info"]["model"] == "llava-onevision-7b"


def test_images_are_copied_once_where_wanted(run: Exportable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    samples = exported(out, run.scored(), images=run.images, copy_images=True)
    for sample in samples:
        name = sample["filepath"]
        assert name.startswith("data/images/")
        original = run.images.root / name.removeprefix("data/")
        assert (out / name).read_bytes() == original.read_bytes()
    files = [path for path in (out / "data").rglob("*") if path.is_file()]
    assert len(files) == len({sample["filepath"] for sample in samples})


def test_a_missing_image_is_refused_and_nothing_is_left(run: Exportable, tmp_path: Path) -> None:
    for images in (None, ImageFolder(tmp_path)):
        with pytest.raises(UsageError, match=r"image images/.*: is not there, .*--images DIR"):
            exported(tmp_path / "out", run.scored(), images=images)
        assert not any(tmp_path.iterdir())


def test_a_box_beyond_all_measure_is_no_detection(run: Exportable, tmp_path: Path) -> None:
    scored = with_boxes(run.scored(), Box(0, 0, math.inf, 1))
    lines = write_export("fiftyone", scored, tmp_path / "out", Wishes(images=run.images))
    assert lines[-1].startswith("1 boxes have corners in the wrong order or beyond")
    samples = json.loads((tmp_path / "out" / "samples.json").read_bytes())["samples"]
    assert box_of(samples[0]["predictions"]) is None
