"""What a data set holds, counted: instances, image sets, clusters, images shown to a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from migbench.data.annotations import Annotations, Instance
from migbench.tasks import load_tasks

_REFERENCE_BOX = re.compile(r"<\|box_start\|>[^<]*<\|box_end\|>")


class TaskStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One task, or all of them.

    ``image_sets`` are distinct ordered lists of images; ``referred_sets`` tells apart those that
    are shown with several reference boxes. ``clusters`` are groups of image sets that share an
    image. The last two fields are the fewest and the most images of an instance.
    """

    instances: int
    image_sets: int
    referred_sets: int
    clusters: int
    fewest_images: int
    most_images: int


class ImagesShown(msgspec.Struct, frozen=True, kw_only=True):
    """How many images a model has to look at, by how much of the work is done only once.

    ``polling`` shows every instance's images anew; ``image_sets`` every image set once;
    ``prefixes`` every distinct beginning of an image set once, as a prefix cache does at best;
    ``images`` every file once.
    """

    polling: int
    image_sets: int
    prefixes: int
    images: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one annotation file; tasks by key, in the order of Table 1."""

    annotations: str
    version: str
    content_sha256: str
    tasks: dict[str, TaskStatistics]
    all: TaskStatistics
    images_shown: ImagesShown


def count(annotations: Annotations) -> Statistics:
    """Count one annotation file; it has to hold an instance."""
    by_task = {spec.key: list[Instance]() for spec in load_tasks()}
    for instance in annotations.instances:
        by_task[instance.task].append(instance)
    return Statistics(
        annotations=str(annotations.path),
        version=annotations.version,
        content_sha256=annotations.content_sha256,
        tasks={
            key: _count_instances(instances, annotations.clusters)
            for key, instances in by_task.items()
            if instances
        },
        all=_count_instances(annotations.instances, annotations.clusters),
        images_shown=_count_images(annotations.instances),
    )


def _count_instances(instances: Sequence[Instance], clusters: Sequence[int]) -> TaskStatistics:
    lengths = [len(each.images) for each in instances]
    return TaskStatistics(
        instances=len(instances),
        image_sets=len({each.images for each in instances}),
        referred_sets=len(
            {(each.images, *_REFERENCE_BOX.findall(each.question)) for each in instances}
        ),
        clusters=len({clusters[each.index] for each in instances}),
        fewest_images=min(lengths),
        most_images=max(lengths),
    )


def _count_images(instances: Iterable[Instance]) -> ImagesShown:
    polled = [each.images for each in instances]
    image_sets = set(polled)
    return ImagesShown(
        polling=sum(map(len, polled)),
        image_sets=sum(map(len, image_sets)),
        prefixes=len({each[:end] for each in image_sets for end in range(1, len(each) + 1)}),
        images=len(set().union(*image_sets)),
    )
