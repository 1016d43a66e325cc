"""Instances: what a record of an annotation file becomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from migbench.boxes import Box
from migbench.errors import shortened
from migbench.tasks import load_tasks
from migbench.util.hashing import short_hash

MOST_CHARACTERS = 1_024
MOST_FOLDERS = 64
"""Bounds of image paths: below what file systems take, far above what data sets have."""

Edges = Annotated[list[float], Meta(min_length=4, max_length=4)]


class Record(msgspec.Struct, frozen=True):
    """One record as it stands in the file."""

    task: str
    images: Annotated[list[str], Meta(min_length=1)]
    question: str
    answer: Edges
    additional_info: str = ""
    need_format: bool = True


@dataclass(frozen=True, slots=True)
class Instance:
    """One target box in one image of an image set, and the question that asks for it.

    ``target_image`` counts from 0. ``asked_image`` is the same where the question says in which
    image to look, else None. ``box`` is in 0-1 of the target image, defects kept.
    """

    id: str
    index: int
    task: str
    images: tuple[str, ...]
    question: str
    target_image: int
    asked_image: int | None
    box: Box

    @property
    def image_set(self) -> str:
        """A short name for the ordered images shown together."""
        return short_hash(*self.images)


class InstanceBuilder:
    """Turns the records of one file into instances, one after another."""

    def __init__(self, scale: float) -> None:
        """``scale`` is the number that stands for 100 % in the file's boxes."""
        self._tasks = {spec.key: spec for spec in load_tasks()}
        self._scale = scale
        self._decoder = msgspec.json.Decoder(Record)
        self._occurrences: Counter[str] = Counter()

    def build(self, index: int, raw: msgspec.Raw) -> Instance:
        """The next instance; exact duplicates after the first have a number in their id.

        Raises ValueError or msgspec.ValidationError saying what is wrong.
        """
        record = self._decoder.decode(raw)
        spec = self._tasks.get(record.task)
        if spec is None:
            raise ValueError(
                f"task {shortened(record.task)} has no task file (known: {', '.join(self._tasks)})"
            )
        images = tuple(normalise_path(image) for image in record.images)
        target, asked = spec.target_image.find(record.question, record.additional_info)
        if target is None:
            raise ValueError(
                f"does not say which image holds the target ({shortened(record.question)})"
            )
        if not 1 <= target <= len(images):
            raise ValueError(f"asks for image {target} of {len(images)}")
        name = f"{spec.key}-{short_hash(*images, record.question)}"
        self._occurrences[name] += 1
        occurrence = self._occurrences[name]
        return Instance(
            id=name if occurrence == 1 else f"{name}.{occurrence}",
            index=index,
            task=spec.key,
            images=images,
            question=record.question,
            target_image=target - 1,
            asked_image=None if asked is None else asked - 1,
            box=Box(*(edge / self._scale for edge in record.answer)),
        )


@lru_cache(maxsize=10_000)  # Image sets share images, and those that do stand together.
def normalise_path(path: str) -> str:
    """An image path without leading ``./`` or doubled slashes: the same image, the same name.

    Raises ValueError for a path that is absolute, climbs out of the data folder, or is longer or
    deeper than any that a data set needs.
    """
    if len(path) > MOST_CHARACTERS or path.count("/") + path.count("\\") > MOST_FOLDERS:
        raise ValueError(
            f"image path {shortened(path, 60)} has more than {MOST_CHARACTERS:,} characters or "
            f"{MOST_FOLDERS} folders"
        )
    # PurePosixPath would take a quarter of the time in which a run is scored.
    slashed = path.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if "\0" in path:
        raise ValueError(f"image path {shortened(path)} cannot be the name of a file")
    if slashed.startswith("/") or ".." in parts or not parts or ":" in parts[0]:
        raise ValueError(f"image path {shortened(path)} leaves the data folder")
    return "/".join(parts)
