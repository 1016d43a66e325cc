"""A folder that FiftyOne imports as a ``FiftyOneDataset``: one sample a target.

The layout is the plain one, ``samples.json`` and a ``metadata.json`` without a version: FiftyOne
reads it in every version, gives samples their ids itself, and needs no database to write it.
Importing is ``fiftyone.Dataset.from_dir(OUT, fiftyone.types.FiftyOneDataset)``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from migbench.boxes import Box
from migbench.errors import UsageError
from migbench.reporting.export import Wishes
from migbench.reporting.export.boxes import corner_and_size, truth_corner_and_size
from migbench.reporting.export.facts import facts_of
from migbench.reporting.export.json_list import JsonList
from migbench.scoring import SampleScore
from migbench.scoring.scored_run import ScoredRun
from migbench.util.files import new_folder

SAMPLES = "samples.json"
METADATA = "metadata.json"
DATA = "data"


def write(scored: ScoredRun, out: Path, wishes: Wishes) -> Sequence[str]:
    """Write the folder ``out``; images stay where they are, or are copied into it.

    Raises `UsageError` where ``out`` is not empty, or an image is not there.
    """
    unwritten = 0
    with new_folder(out) as folder:
        with (folder / SAMPLES).open("wb") as file:
            file.write(b'{"samples": ')
            samples = JsonList(file)
            for scored_sample in scored.samples:
                image = _image_path(scored_sample, wishes)
                path = _copied(image, scored_sample, folder) if wishes.copy_images else str(image)
                box = scored_sample.prediction.box
                unwritten += box is not None and corner_and_size(box) is None
                samples.add(_sample(scored_sample, path))
            samples.close()
            file.write(b"}\n")
        metadata = {"media_type": "image", "info": facts_of(scored)}
        (folder / METADATA).write_bytes(msgspec.json.format(msgspec.json.encode(metadata)) + b"\n")
    lines = [
        f"{len(samples)} samples, one a target. To import them: "
        f'fiftyone.Dataset.from_dir("{out}", fiftyone.types.FiftyOneDataset)'
    ]
    if unwritten:
        lines.append(
            f"{unwritten} boxes have corners in the wrong order or beyond all measure, which "
            "FiftyOne cannot show: no detection."
        )
    return lines


def _image_path(scored_sample: SampleScore, wishes: Wishes) -> Path:
    instance = scored_sample.instance
    name = instance.images[instance.target_image]
    if wishes.images is not None:
        path = wishes.images.file(name).path
        if path is not None and path.is_file():
            return path
    raise UsageError(
        f"image {name}: is not there, and FiftyOne shows nothing without it; pass --images DIR "
        "with the folder that holds the images"
    )


def _copied(image: Path, scored_sample: SampleScore, folder: Path) -> str:
    """Copy an image, once, and give its path from the folder."""
    instance = scored_sample.instance
    name = f"{DATA}/{instance.images[instance.target_image]}"
    copy = folder / name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, copy)
    return name


def _sample(scored_sample: SampleScore, path: str) -> dict[str, Any]:
    instance, line = scored_sample.instance, scored_sample.line
    return {
        "filepath": path,
        "tags": [instance.task],
        "ground_truth": _detections(instance.task, truth_corner_and_size(scored_sample.truth)),
        "predictions": _detections(instance.task, _numbers(scored_sample.prediction.box)),
        "instance": instance.id,
        "index": instance.index,
        "task": instance.task,
        "image_set": list(instance.images),
        "image_number": instance.target_image + 1,
        "question": instance.question,
        "answer": line.text if line else None,
        "iou": scored_sample.iou,
        "outcome": scored_sample.outcome.value,
        "flags": [flag.value for flag in scored_sample.flags],
    }


def _numbers(box: Box | None) -> list[float] | None:
    return None if box is None else corner_and_size(box)


def _detections(label: str, numbers: list[float] | None) -> dict[str, Any]:
    """A list of detections with one of them, or none where there is no box."""
    one = {"_cls": "Detection", "label": label, "bounding_box": numbers}
    return {"_cls": "Detections", "detections": [] if numbers is None else [one]}
