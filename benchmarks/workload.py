"""What the clients are asked to send: images, and the questions as each client reads them.

That is an annotation file, a plain list of requests, and a task of lmms-eval on that list.

    python benchmarks/workload.py FOLDER --requests 500 --seed 0

The image sets have the sizes, and as many questions each, as the first hundred instances of the
five multi-target tasks in the paper's annotation file: 145 sets, 585 images, shown 2,216 times.
The images are drawn noise, 1280x720, as heavy as photographs: a request weighs 1.9 MB.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LMMS_TASK = Path(__file__).parent / "lmms_task"
ANNOTATIONS = "annotations.json"
REQUESTS = "requests.json"

SETS = {
    "common_object": "44 44 44 44 33 44 33 55 44 33 33 44 55 33 55 55 55 44 44 55 33 44 55 55 42",
    "object_tracking": " ".join(["65"] * 20),
    "multi_view": "32 54 43 43 43 43 58 43 43 43 54 32 32 32 43 65 54 43 43 43 43 54 43 43 43 54 "
    "43 43 43 43 42",
    "region": "32 43 43 43 21 21 32 43 43 43 43 43 43 43 21 43 21 43 32 43 21 21 43 43 21 43 32 21 "
    "43 43 21 43 32 43 43 43 43 32 43 32 43 42",
    "group_grounding": "44 33 33 55 44 55 33 33 44 33 44 33 55 44 44 44 33 55 33 55 44 44 33 44 33 "
    "44 51",
}
"""By task, its image sets in order: the number of images, then the number of questions."""

QUESTIONS = {
    "common_object": "These images share one object in common. Recognize and locate this object "
    "in the {number}th image. ",
    "object_tracking": "These are a sequence of images containing moving objects. For the object "
    "in the first image marked with red bounding box({box}), please locate it in the {number}th "
    "image. ",
    "multi_view": "These images share one object in common(the object marked with red bounding "
    "box in the first image({box}). Recognize and locate this object in the {number}th image. ",
    "region": "You are given a source image followed by its several regions. Please locate the "
    "{number}th region picture in the source image. ",
    "group_grounding": "Provide the bounding box coordinates for the region referred to by this "
    "sentence: <|object_ref_start|>thing number {question}<|object_ref_end|>. ",
}

BOX = "<|box_start|>(100,200),(400,600)<|box_end|>"
SIZE = (1280, 720)
GRAIN = 4.4
"""Size of the noise's grain in pixels; it decides how heavy an image is."""


@dataclass(frozen=True)
class Record:
    """One question of the annotation file."""

    task: str
    images: tuple[str, ...]
    question: str
    target: int

    def as_published(self) -> dict[str, Any]:
        """The record with the keys of ``MIG_data.json``."""
        hint = f"It is in the {self.target}th image." if self.task == "group_grounding" else ""
        return {
            "task": self.task,
            "images": [f"./{name}" for name in self.images],
            "question": self.question,
            "answer": [0.1, 0.2, 0.4, 0.6],
            "additional_info": hint,
            "need_format": True,
        }


def records(count: int) -> list[Record]:
    """The first ``count`` questions, as evenly from the five tasks as ``count`` allows."""
    share, rest = divmod(count, len(SETS))
    if not 1 <= count <= 100 * len(SETS):
        raise ValueError(f"{count} requests: 1 to {100 * len(SETS)} are expected")
    taken = []
    for place, task in enumerate(SETS):
        taken += list(_of_task(task))[: share + (place < rest)]
    return taken


def _of_task(task: str) -> Iterator[Record]:
    for number, (images, questions) in enumerate(SETS[task].split()):
        names = tuple(f"images/{task}/{number:03}_{one}.jpg" for one in range(int(images)))
        first = 1 if task in ("common_object", "region", "group_grounding") else 2
        places = range(first, len(names) + 1)
        for question in range(int(questions)):
            target = places[question % len(places)]
            # A set asked about more often than it has images is asked about other boxes.
            box = BOX.replace("100", str(100 + question))
            text = QUESTIONS[task].format(number=target, box=box, question=question + 1)
            yield Record(task, names, text, target)


def write(folder: Path, count: int, seed: int) -> None:
    """Write annotation file, images and request list; the same arguments give the same bytes."""
    wanted = records(count)
    for number, name in enumerate(dict.fromkeys(name for one in wanted for name in one.images)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(np.random.default_rng([seed, number])))
    requests = [{"images": one.images, "text": one.question} for one in wanted]
    (folder / REQUESTS).write_text(json.dumps(requests))
    (folder / ANNOTATIONS).write_text(json.dumps([one.as_published() for one in wanted]))
    shutil.copytree(LMMS_TASK, folder / LMMS_TASK.name, dirs_exist_ok=True)


def jpeg(random: np.random.Generator) -> bytes:
    """One image: coloured noise, 1280x720, about 320 kB."""
    width, height = (round(edge / GRAIN) for edge in SIZE)
    noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(noise).resize(SIZE, Image.Resampling.BILINEAR).save(
        content, format="JPEG", quality=85
    )
    return content.getvalue()


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.folder, options.requests, options.seed)


if __name__ == "__main__":
    main()
