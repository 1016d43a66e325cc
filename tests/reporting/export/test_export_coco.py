"""COCO's format: every target an image of its own, and COCO's recall the benchmark's accuracy."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.export_runs import Exportable, with_boxes

from migbench.boxes import Box
from migbench.data.images import ImageFolder
from migbench.errors import ModelError, UsageError
from migbench.messages import Size
from migbench.reporting.export import Wishes, write_export
from migbench.reporting.export.boxes import corner_and_size, truth_corner_and_size
from migbench.scoring import Outcome
from migbench.scoring.scored_run import ScoredRun
from migbench.tasks import load_tasks

TASKS = [spec.key for spec in load_tasks()]


def exported(out: Path, scored: ScoredRun, **wishes: Any) -> tuple[dict[str, Any], Any, list[str]]:
    lines = write_export("coco", scored, out, Wishes(**wishes))
    instances = json.loads((out / "instances.json").read_bytes())
    return instances, json.loads((out / "results.json").read_bytes()), [*lines]


def test_every_target_is_an_image_with_one_annotation(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored()
    content, _, _ = exported(tmp_path / "coco", scored, images=run.images)
    assert content.keys() == {"info", "licenses", "categories", "images", "annotations"}
    assert [each["name"] for each in content["categories"]] == TASKS
    assert [each["id"] for each in content["categories"]] == [*range(1, 11)]
    rows = zip(content["images"], content["annotations"], scored.samples, strict=True)
    for image, annotation, sample in rows:
        instance = sample.instance
        assert image["id"] == annotation["id"] == annotation["image_id"] == instance.index + 1
        assert image["file_name"] == instance.images[instance.target_image]
        with Image.open(run.images.root / image["file_name"]) as file:
            assert (image["width"], image["height"]) == file.size
        assert image["instance"] == instance.id
        assert image["image_set"] == [*instance.images]
        assert image["image_set"][image["image_number"] - 1] == image["file_name"]
        assert TASKS[annotation["category_id"] - 1] == instance.task
        left, top, width, height = annotation["bbox"]
        assert annotation["area"] == width * height > 0
        assert annotation["iscrowd"] == 0
        assert (
            left / image["width"],
            top / image["height"],
            (left + width) / image["width"],
            (top + height) / image["height"],
        ) == pytest.approx(sample.truth)
        assert annotation["question"] == instance.question


def test_an_answer_without_a_box_has_no_detection(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored("part")
    content, detections, lines = exported(tmp_path / "coco", scored, images=run.images)
    read = [each for each in scored.samples if each.prediction.box is not None]
    assert 0 < len(read) < len(scored.samples)
    assert any(each.outcome is Outcome.MODEL_ERROR for each in scored.samples)
    assert [each["image_id"] for each in detections] == [each.instance.index + 1 for each in read]
    category = {each["image_id"]: each["category_id"] for each in content["annotations"]}
    for each in detections:
        assert each.keys() == {"image_id", "category_id", "bbox", "score"}
        assert each["score"] == 1.0
        assert each["category_id"] == category[each["image_id"]]
    assert lines == [
        f"30 targets, {len(read)} detections in instances.json and results.json.",
        f"{30 - len(read)} targets have no box in an answer, and no detection.",
    ]


@pytest.mark.parametrize("categories", ["task", "one"])
def test_cocos_recall_is_the_accuracy(
    run: Exportable, tmp_path: Path, capsys: pytest.CaptureFixture[str], categories: str
) -> None:
    pytest.importorskip("pycocotools", reason="the dev extra installs pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scored = run.scored()
    out = tmp_path / "coco"
    exported(out, scored, images=run.images, categories=categories)
    truth = COCO(str(out / "instances.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(out / "results.json")), "bbox")
    evaluation.params.iouThrs = np.array([0.3, 0.5, 0.7])
    evaluation.params.maxDets = [1, 1, 1]
    evaluation.evaluate()
    evaluation.accumulate()
    recall = 100 * evaluation.eval["recall"][:, :, 0, 2]
    tasks = scored.scores.tasks.values()
    accuracies = np.array([[one.at_30, one.at_50, one.at_70] for one in tasks], float).T
    assert 0 < accuracies.mean() < 100
    if categories == "one":
        # Every task has as many targets.
        accuracies = accuracies.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(recall, accuracies)


def test_one_category_for_all(run: Exportable, tmp_path: Path) -> None:
    content, detections, _ = exported(
        tmp_path / "coco", run.scored(), images=run.images, categories="one"
    )
    assert content["categories"] == [{"id": 1, "name": "target"}]
    assert {each["category_id"] for each in (*content["annotations"], *detections)} == {1}


def test_what_was_scored_and_how_is_in_the_file(run: Exportable, tmp_path: Path) -> None:
    content, _, _ = exported(tmp_path / "coco", run.scored(protocol="released"), images=run.images)
    info = content["info"]
    assert (info["model"], info["protocol"], info["evaluator"]) == (
        "llava-onevision-7b",
        "released",
        "polling",
    )
    assert info["annotations"].startswith("MIG_mini.json (")


# --- sizes ----------------------------------------------------------------------------------------


def test_an_unknown_size_is_asked_for(run: Exportable, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"images/.*png: its size .*--images DIR .*--unknown-size"):
        exported(tmp_path / "coco", run.scored())
    assert not any(tmp_path.iterdir())
    content, _, lines = exported(tmp_path / "coco", run.scored(), unknown_size=Size(640, 480))
    assert {(each["width"], each["height"]) for each in content["images"]} == {(640, 480)}
    assert lines[-1].startswith("30 images of unknown size are written as 640x480")


def test_sizes_that_the_run_has_kept_need_no_images(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored()

    def sized(number: int) -> list[tuple[int, int]]:
        return [(100 * (place + 1), 50) for place in range(number)]

    kept = replace(
        scored,
        samples=tuple(
            replace(
                each,
                line=msgspec.structs.replace(each.line, sizes=sized(len(each.instance.images))),
            )
            for each in scored.samples
            if each.line is not None
        ),
    )
    content, _, _ = exported(tmp_path / "coco", kept)
    for image in content["images"]:
        assert (image["width"], image["height"]) == (100 * image["image_number"], 50)


def test_a_broken_image_is_named(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored()
    instance = scored.samples[0].instance
    name = instance.images[instance.target_image]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ModelError, match=f"image {name}: cannot be decoded"):
        exported(tmp_path / "coco", scored, images=ImageFolder(tmp_path))
    assert not (tmp_path / "coco").exists()


# --- boxes ----------------------------------------------------------------------------------------

EDGES = st.floats(-2, 3)
SIZES = st.builds(Size, st.integers(1, 10_000), st.integers(1, 10_000))


@given(box=st.builds(Box, EDGES, EDGES, EDGES, EDGES), size=SIZES)
def test_boxes_come_back(box: Box, size: Size) -> None:
    found = corner_and_size(box, size)
    assert (found is None) == box.is_inverted
    if found is not None:
        left, top, width, height = found
        assert width >= 0
        assert height >= 0
        back = Box(
            left / size.width,
            top / size.height,
            (left + width) / size.width,
            (top + height) / size.height,
        )
        assert back == pytest.approx(box, abs=1e-12)
        assert truth_corner_and_size(box, size) == pytest.approx(found)


@given(box=st.builds(Box, EDGES, EDGES, EDGES, EDGES), size=SIZES)
def test_truth_is_always_written_and_has_area_where_the_box_has(box: Box, size: Size) -> None:
    _, _, width, height = truth_corner_and_size(box, size)
    assert min(width, height) >= 0
    if box.has_area:
        assert width * height >= 0
    if box.is_inverted:
        assert width * height == 0


@pytest.mark.parametrize(
    "box",
    [
        Box(0.5, 0.1, 0.4, 0.2),
        Box(0.1, 0.6, 0.4, 0.2),
        Box(0.1, 0.1, math.inf, 0.2),
        Box(-math.inf, 0.1, 0.2, 0.2),
        Box(0.1, 0.1, 1.7e308, 0.2),
    ],
)
def test_a_box_that_coco_cannot_write_is_counted(run: Exportable, tmp_path: Path, box: Box) -> None:
    scored = run.scored()
    _, before, _ = exported(tmp_path / "before", scored, images=run.images)
    _, after, lines = exported(tmp_path / "after", with_boxes(scored, box), images=run.images)
    first = scored.samples[0].instance.index + 1
    assert after == [each for each in before if each["image_id"] != first]
    assert lines[-1].startswith("1 boxes have corners in the wrong order or beyond all measure")


# --- files ----------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_left_alone(run: Exportable, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already, and not empty; choose another --out"):
        exported(tmp_path, run.scored(), images=run.images)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
