"""MIG-Mini as files, in the layout of MIG-Bench: one JSON list, and the images that it names."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from migbench.errors import UsageError
from migbench.mini.catalogue import TASKS, scenes
from migbench.mini.scene import ImageSet
from migbench.mini.splits import Split

FILE_NAME = "MIG_mini.json"


@dataclass(frozen=True, slots=True)
class _Numbered:
    """An image set and the paths of its images, as the JSON file writes them."""

    image_set: ImageSet
    paths: tuple[str, ...]


def render(folder: Path, *, per_task: int = 10, seed: int = 0, split: Split = "test") -> Path:
    """Write ``per_task`` instances of every task into ``folder``; return the JSON file's path.

    The same arguments give the same bytes, and fewer instances are the first ones of more. The JSON
    file is written last, so a folder that has one is complete. Where the folder already holds the
    same MIG-Mini, its images are written again; where it holds another, `UsageError` is raised and
    nothing is touched. `UsageError` also for a count below 1, a negative seed, an unknown split.
    """
    if per_task < 1:
        raise UsageError(f"{per_task} instances a task were asked for; ask for 1 or more")
    target = folder / FILE_NAME
    present = target.read_text("utf-8") if target.is_file() else ""
    # Drawn twice rather than kept: a large MIG-Mini does not fit into memory.
    if present and present != _json(_numbered(per_task, seed, split)):
        raise UsageError(
            f"{target} is another MIG-Mini (another seed, split, count or version of migbench): "
            "choose an empty folder, or delete this one first"
        )
    text = _json(_saved(folder, _numbered(per_task, seed, split)))
    if text != present:
        unfinished = target.with_suffix(".json.part")
        unfinished.write_text(text, "utf-8", newline="\n")
        unfinished.replace(target)
    return target


def _numbered(per_task: int, seed: int, split: Split) -> Iterator[_Numbered]:
    """The image sets in the order of the file, the last of each task cut to the exact count."""
    for task in TASKS:
        missing = per_task
        for index, image_set in enumerate(scenes(task, seed=seed, split=split)):
            kept = replace(image_set, questions=image_set.questions[:missing])
            numbers = range(1, len(kept.images) + 1)
            yield _Numbered(kept, tuple(f"./images/{task}/{index:05}_{n}.png" for n in numbers))
            missing -= len(kept.questions)
            if not missing:
                break


def _saved(folder: Path, image_sets: Iterator[_Numbered]) -> Iterator[_Numbered]:
    for numbered in image_sets:
        for path, image in zip(numbered.paths, numbered.image_set.images, strict=True):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file, format="PNG", compress_level=6)
        yield numbered


def _json(image_sets: Iterator[_Numbered]) -> str:
    """A JSON list with one record a line."""
    records = itertools.chain.from_iterable(
        numbered.image_set.records(numbered.paths) for numbered in image_sets
    )
    return (
        "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]\n"
    )
