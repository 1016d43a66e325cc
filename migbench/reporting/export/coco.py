"""COCO's detection format: ``instances.json`` with the ground truth, ``results.json`` with answers.

Every target is an image of its own, with one annotation and at most one detection: the image of its
set in which it lies. Where several targets lie in one file, that file stands there several times.
In this way a detection can only meet the target that was asked for, as in the benchmark, and
COCO's recall at IoU 0.5 is Acc@0.5.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from migbench.messages import Size
from migbench.reporting.export import Wishes
from migbench.reporting.export.boxes import corner_and_size, truth_corner_and_size
from migbench.reporting.export.facts import facts_of
from migbench.reporting.export.json_list import JsonList
from migbench.reporting.export.sizes import Sizes
from migbench.scoring import SampleScore, coverage_of
from migbench.scoring.scored_run import ScoredRun
from migbench.tasks import load_tasks
from migbench.util.files import new_folder

INSTANCES = "instances.json"
RESULTS = "results.json"


def write(scored: ScoredRun, out: Path, wishes: Wishes) -> Sequence[str]:
    """Write the folder ``out``.

    An answer without a box has no detection. Raises `UsageError` where ``out`` is not empty, or an
    image's size is not known.
    """
    sizes = Sizes(wishes.images, wishes.unknown_size)
    categories = _Categories(wishes)
    unwritten = boxes = 0
    with (
        new_folder(out) as folder,
        (folder / INSTANCES).open("wb") as instances,
        (folder / RESULTS).open("wb") as results,
        TemporaryFile() as aside,
    ):
        # Images and annotations are two lists of one file; the second is written aside.
        instances.write(b'{"info": ' + msgspec.json.encode(_info(scored)))
        instances.write(b',\n"licenses": [],\n"categories": ')
        instances.write(msgspec.json.encode(categories.records) + b',\n"images": ')
        images, annotations, detections = JsonList(instances), JsonList(aside), JsonList(results)
        for sample in scored.samples:
            size = sizes.of_target(sample)
            category = categories.of(sample)
            images.add(_image(sample, size))
            annotations.add(_annotation(sample, size, category))
            if (box := sample.prediction.box) is not None:
                boxes += 1
                if (numbers := corner_and_size(box, size)) is None:
                    unwritten += 1
                    continue
                detections.add(
                    {
                        "image_id": _number(sample),
                        "category_id": category,
                        "bbox": numbers,
                        "score": 1.0,
                    }
                )
        for each in (images, annotations, detections):
            each.close()
        _append(instances, aside)
    lines = [f"{len(images)} targets, {len(detections)} detections in {INSTANCES} and {RESULTS}."]
    if len(images) > boxes:
        lines.append(f"{len(images) - boxes} targets have no box in an answer, and no detection.")
    if unwritten:
        lines.append(
            f"{unwritten} boxes have corners in the wrong order or beyond all measure, which COCO "
            "cannot write: no detection."
        )
    if sizes.assumed:
        assert sizes.unknown is not None
        lines.append(
            f"{sizes.assumed} images of unknown size are written as "
            f"{sizes.unknown.width}x{sizes.unknown.height}: IoU holds, areas mean nothing."
        )
    return lines


class _Categories:
    """A category a task, numbered as the columns of Table 1; or one for all."""

    def __init__(self, wishes: Wishes) -> None:
        specs = load_tasks()
        if wishes.categories == "one":
            self._numbers = {spec.key: 1 for spec in specs}
            self.records: list[dict[str, Any]] = [{"id": 1, "name": "target"}]
        else:
            self._numbers = {spec.key: number for number, spec in enumerate(specs, start=1)}
            self.records = [
                {"id": number, "name": spec.key, "supercategory": spec.group}
                for number, spec in enumerate(specs, start=1)
            ]

    def of(self, sample: SampleScore) -> int:
        return self._numbers[sample.instance.task]


def _number(sample: SampleScore) -> int:
    """From 1: COCO's own evaluation takes an annotation numbered 0 for none."""
    return sample.instance.index + 1


def _image(sample: SampleScore, size: Size) -> dict[str, Any]:
    instance = sample.instance
    return {
        "id": _number(sample),
        "file_name": instance.images[instance.target_image],
        "width": size.width,
        "height": size.height,
        "instance": instance.id,
        "image_set": list(instance.images),
        "image_number": instance.target_image + 1,
    }


def _annotation(sample: SampleScore, size: Size, category: int) -> dict[str, Any]:
    numbers = truth_corner_and_size(sample.truth, size)
    return {
        "id": _number(sample),
        "image_id": _number(sample),
        "category_id": category,
        "bbox": numbers,
        "area": numbers[2] * numbers[3],
        "iscrowd": 0,
        "segmentation": [],
        "question": sample.instance.question,
    }


def _info(scored: ScoredRun) -> dict[str, Any]:
    return {
        "description": "MIG-Bench, one image a target, with the answers of a model"
        f"{coverage_of(scored.scores).mark}",
        **facts_of(scored),
    }


def _append(instances: IO[bytes], annotations: IO[bytes]) -> None:
    annotations.seek(0)
    instances.write(b',\n"annotations": ')
    shutil.copyfileobj(annotations, instances)
    instances.write(b"}\n")
