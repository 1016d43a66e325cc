"""Checking a data set: what cannot be used, what can but is defective, and what is counted twice.

An annotation file that does not parse at all raises `DataError`; everything else ends in a
`Report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from migbench.boxes import Box
from migbench.data import Progress, no_progress
from migbench.data.annotations import Annotations, Instance, Problem, inspect_annotations
from migbench.data.image_check import LIMITING, UNUSABLE, Fault, ImageReport, check_images
from migbench.data.images import DataLocation
from migbench.tasks import load_tasks


class BoxDefect(StrEnum):
    """What is wrong with a ground-truth box."""

    INVERTED = "inverted"
    OUTSIDE = "outside"
    EMPTY = "empty"


class DefectiveBox(msgspec.Struct, frozen=True, kw_only=True):
    """A box with its corners in the wrong order, beyond its image, or with no area inside it.

    ``index`` is the record's place in the file, from 0; ``box`` is in 0-1 of the target image.
    """

    id: str
    index: int
    box: Box
    defects: tuple[BoxDefect, ...]


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """A record with the images and the question of an earlier one; both by their place, from 0."""

    id: str
    index: int
    repeats: int
    same_box: bool


class RepeatedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A record that shows one image more than once; ``index`` is its place in the file, from 0."""

    id: str
    index: int
    image: str


class IdCollision(msgspec.Struct, frozen=True, kw_only=True):
    """Two records, by their place, that differ and yet were given the same id but for a number."""

    id: str
    index: int
    collides_with: int


class TaskCount(msgspec.Struct, frozen=True, kw_only=True):
    """Instances of a task, and how many its task file expects in a known version of the data."""

    instances: int
    expected: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. ``unusable_because`` is empty where a run can be made of the data.

    ``images`` is None where there are none to be checked. Tasks stand in the order of Table 1.
    """

    annotations: str
    content_sha256: str
    version: str
    scale: float
    instances: int
    tasks: dict[str, TaskCount]
    malformed: tuple[Problem, ...]
    defective_boxes: tuple[DefectiveBox, ...]
    duplicates: tuple[Duplicate, ...]
    repeated_images: tuple[RepeatedImage, ...]
    id_collisions: tuple[IdCollision, ...]
    images: ImageReport | None
    unusable_because: tuple[str, ...]
    limited_because: tuple[str, ...] = ()
    """Why not every model can be shown all of the data."""

    @property
    def usable(self) -> bool:
        """Whether a run can be made of the data, defects and all."""
        return not self.unusable_because


def check(
    location: DataLocation,
    scale: float | None = None,
    *,
    images_required: bool = True,
    decode: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Check an annotation file and its images; ``scale`` as for `read_annotations`.

    ``decode`` reads every pixel instead of the headers. Unless ``images_required``, a folder that
    holds none of the images counts as a data set without any, which baselines and stored answers
    do not need; one that holds some is always checked. Raises `DataError` where the annotation file
    as a whole cannot be read.
    """
    annotations, malformed = inspect_annotations(location.annotations, scale)
    instances = annotations.instances
    boxes = tuple(_defective_boxes(instances))
    images = None
    if location.images is not None:
        names = dict.fromkeys(name for each in instances for name in each.images)
        images = check_images(names, location.images, decode=decode, progress=progress)
        if images.number(Fault.MISSING) == images.named and not images_required:
            images = None
    return Report(
        annotations=str(annotations.path),
        content_sha256=annotations.content_sha256,
        version=annotations.version,
        scale=annotations.scale,
        instances=len(instances),
        tasks=_task_counts(annotations),
        malformed=malformed,
        defective_boxes=boxes,
        duplicates=tuple(_duplicates(instances)),
        repeated_images=tuple(_repeated_images(instances)),
        id_collisions=tuple(_id_collisions(instances)),
        images=images,
        unusable_because=(*annotations.unusable_because, *_numbers(images, UNUSABLE)),
        limited_because=tuple(_numbers(images, LIMITING)),
    )


def _task_counts(annotations: Annotations) -> dict[str, TaskCount]:
    counts = {
        spec.key: TaskCount(
            instances=annotations.counts[spec.key],
            expected=spec.instances.get(annotations.version),
        )
        for spec in load_tasks()
    }
    return {key: count for key, count in counts.items() if count.instances or count.expected}


def _defective_boxes(instances: Iterable[Instance]) -> Iterator[DefectiveBox]:
    for each in instances:
        if defects := tuple(_defects(each.box)):
            yield DefectiveBox(id=each.id, index=each.index, box=each.box, defects=defects)


def _defects(box: Box) -> Iterator[BoxDefect]:
    if box.is_inverted:
        yield BoxDefect.INVERTED
    if box.is_outside:
        yield BoxDefect.OUTSIDE
    if not box.repaired().has_area:
        yield BoxDefect.EMPTY


def _duplicates(instances: Iterable[Instance]) -> Iterator[Duplicate]:
    first: dict[object, Instance] = {}
    for each in instances:
        earlier = first.setdefault(_content(each), each)
        if earlier is not each:
            yield Duplicate(
                id=each.id,
                index=each.index,
                repeats=earlier.index,
                same_box=earlier.box == each.box,
            )


def _repeated_images(instances: Iterable[Instance]) -> Iterator[RepeatedImage]:
    for each in instances:
        (image, times), *_ = Counter(each.images).most_common(1)
        if times > 1:
            yield RepeatedImage(id=each.id, index=each.index, image=image)


def _id_collisions(instances: Iterable[Instance]) -> Iterator[IdCollision]:
    first: dict[str, Instance] = {}
    for each in instances:
        # The number of an occurrence follows the hash, which follows the last hyphen.
        task, _, occurrence = each.id.rpartition("-")
        earlier = first.setdefault(f"{task}-{occurrence.partition('.')[0]}", each)
        if _content(earlier) != _content(each):
            yield IdCollision(id=each.id, index=each.index, collides_with=earlier.index)


def _content(instance: Instance) -> tuple[str, tuple[str, ...], str]:
    """What an id stands for."""
    return instance.task, instance.images, instance.question


def _numbers(images: ImageReport | None, faults: Iterable[Fault]) -> Iterator[str]:
    for fault in faults:
        if images is not None and (number := images.number(fault)):
            yield f"{fault} images: {number} of {images.named}"
