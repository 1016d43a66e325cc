"""The doctor's scenes: rendered image sets, written as a data set of their own.

Most sets are one image with a single thing. Every fourth has several images: either each holds
another thing, and the question names one of them; or all hold the same thing, each at another
place, and the question names an image. Images are small, middling and large, square, wide and tall,
and things have every shape and place, so that no two conventions give the same numbers throughout.
"""

from __future__ import annotations

import itertools
import json
from enum import StrEnum
from pathlib import Path

import numpy as np

from migbench.data.annotations import Instance
from migbench.messages import Size
from migbench.mini import ImageSet, Plan
from migbench.mini.backdrops import random_backdrop
from migbench.mini.drawing import draw
from migbench.mini.group import ORDINALS, WORDINGS, describe
from migbench.mini.layout import choose, choose_one, clear, first_valid
from migbench.mini.scene import Ask, Box, Item, Look, Page, Record
from migbench.mini.splits import named_looks

FILE_NAME = "doctor.json"
SCALE = 1.0
"""What stands for 100 % in the file's boxes."""

SEED = 2025
"""The scenes are always the same, and fewer are the first ones of more."""

SIDES = ((80, 150), (220, 640), (1650, 2000))
"""Ranges of the longer side, in pixels. Rounding to a grid of 28 pixels shows on small images,
bounds of area and of the longer side on large ones."""
ASPECTS = (1.0, 4 / 3, 16 / 9, 2.4)
"""Longer side to shorter one."""
SHARES = (0.18, 0.5)
"""A thing's width and height, each, as shares of its image's."""
SHARES_IN_GROUP = (0.15, 0.35)
MARGIN = 0.03
"""Kept free along an image's edges, as a share of its side."""
GROUP_EVERY = 4
GROUP_IMAGES = 3

COMMON_OBJECT = (
    "These images share one object in common. Recognize and locate this object in the {nth} image. "
)
"""MIG-Bench's own wording of a question that says in which image to look."""


class Kind(StrEnum):
    """What a question has the model do."""

    ALONE = "alone"
    """Find the only thing in the only image."""
    NAMED = "named"
    """Find a named thing, which one image of several holds."""
    NUMBERED = "numbered"
    """Find the thing in the image of a given number; all images hold one alike."""


TASKS = {
    Kind.ALONE: "group_grounding",
    Kind.NAMED: "group_grounding",
    Kind.NUMBERED: "common_object",
}
"""The benchmark's task whose wording is used."""


def kind_of(instance: Instance) -> Kind:
    """What one of the doctor's questions has the model do."""
    if len(instance.images) == 1:
        return Kind.ALONE
    return Kind.NUMBERED if instance.task == TASKS[Kind.NUMBERED] else Kind.NAMED


def write_scenes(folder: Path, count: int) -> Path:
    """Render the first ``count`` image sets into ``folder``; the annotation file's path.

    Of a set with several images all are asked about, so that their things' places are known.
    """
    records: list[Record] = []
    for place in range(count):
        image_set = render_scene(place)
        names = [
            f"images/{place:03}_{number}.png" for number in range(1, 1 + len(image_set.images))
        ]
        for name, image in zip(names, image_set.images, strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, format="PNG", compress_level=1)
        records += image_set.records(names)
    file = folder / FILE_NAME
    file.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    return file


def render_scene(place: int) -> ImageSet:
    """One image set; ``place`` says which, from 0."""
    rng = np.random.default_rng([SEED, place])
    group, rest = divmod(place, GROUP_EVERY)
    if rest < GROUP_EVERY - 1:
        kind, plan = Kind.ALONE, _alone(rng, place - group)
    elif group % 2 == 0:
        kind, plan = Kind.NAMED, _named(rng)
    else:
        kind, plan = Kind.NUMBERED, _numbered(rng)
    return draw(plan, TASKS[kind], need_format=True)


def _alone(rng: np.random.Generator, number: int) -> Plan:
    """The sizes take turns, and for each size the aspects, wide and tall."""
    turn, which = divmod(number, len(SIDES))
    longer = int(rng.integers(*SIDES[which]))
    tall = (turn + turn // len(ASPECTS)) % 2 == 0
    size = _size(longer, ASPECTS[(turn + which) % len(ASPECTS)], tall=tall)
    look = choose_one(rng, named_looks("train"))
    page = Page(size, random_backdrop(rng), (Item(look, _place(rng, size, SHARES)),))
    return Plan((page,), (_ask_by_name(rng, look, 0),))


def _named(rng: np.random.Generator) -> Plan:
    looks = choose(rng, named_looks("train"), GROUP_IMAGES)
    asks = (_ask_by_name(rng, look, number) for number, look in enumerate(looks))
    return Plan(_group(rng, looks), tuple(asks))


def _numbered(rng: np.random.Generator) -> Plan:
    look = choose_one(rng, named_looks("train"))
    asks = (
        Ask(COMMON_OBJECT.replace("{nth}", ORDINALS[number]), number, (0,))
        for number in range(GROUP_IMAGES)
    )
    return Plan(_group(rng, [look] * GROUP_IMAGES), tuple(asks))


def _ask_by_name(rng: np.random.Generator, look: Look, image: int) -> Ask:
    phrase = f"<|object_ref_start|>{describe(look)}<|object_ref_end|>"
    wording = str(rng.choice(WORDINGS)).replace("{phrase}", phrase)
    return Ask(wording, image, (0,), f"It is in the {ORDINALS[image]} image.")


def _group(rng: np.random.Generator, looks: list[Look]) -> tuple[Page, ...]:
    """One image a look; no thing's place, in 0-1, meets another's: a box tells whose it is."""

    def propose() -> list[Item] | None:
        boxes = [_place(rng, size, SHARES_IN_GROUP) for size in sizes]
        common = [_thousandths(box, size) for box, size in zip(boxes, sizes, strict=True)]
        if not all(clear(one, [other]) for one, other in itertools.combinations(common, 2)):
            return None
        return [Item(look, box) for look, box in zip(looks, boxes, strict=True)]

    sizes = [
        _size(
            int(rng.integers(*SIDES[1])), float(rng.choice(ASPECTS)), tall=bool(rng.random() < 0.5)
        )
        for _ in looks
    ]
    items = first_valid(propose)
    return tuple(
        Page(size, random_backdrop(rng), (item,)) for size, item in zip(sizes, items, strict=True)
    )


def _size(longer: int, aspect: float, *, tall: bool) -> Size:
    shorter = round(longer / aspect)
    return Size(shorter, longer) if tall else Size(longer, shorter)


def _place(rng: np.random.Generator, size: Size, shares: tuple[float, float]) -> Box:
    width, height = (round(rng.uniform(*shares) * side) for side in size)
    left, top = (
        round(MARGIN * side + rng.random() * ((1 - 2 * MARGIN) * side - length))
        for side, length in zip(size, (width, height), strict=True)
    )
    return Box(left, top, left + width, top + height)


def _thousandths(box: Box, size: Size) -> Box:
    return Box(*(round(1000 * edge) for edge in box.fractions(size)))
