"""Tasks in which the same thing occurs again.

`common_object`, `refer_grounding`, `region`, `multi_view`, `object_tracking`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from migbench.messages import Size
from migbench.mini.backdrops import random_backdrop
from migbench.mini.differences import large_enough, seen_box
from migbench.mini.layout import (
    EDGE,
    choose,
    choose_one,
    clear,
    first_valid,
    lures,
    random_sides,
    random_size,
    scatter_looks,
)
from migbench.mini.scene import Ask, Box, Cutting, Item, Look, Page, Plan, View
from migbench.mini.splits import Split, nameless_looks

COMMON = (
    "These images share one object in common. Recognize and locate this object in the {n}th image. "
)
MULTI_VIEW = (
    "These images share one object in common(the object marked with red bounding box in the first "
    "image({mark}). Recognize and locate this object in the {n}th image. "
)
TRACKING = (
    "These are a sequence of images containing moving objects. For the object in the first image "
    "marked with red bounding box({mark}), please locate it in the {n}th image. "
)
REGION = (
    "You are given a source image followed by its several regions. "
    "Please locate the {n}th region picture in the source image. "
)
REFER = "Find and locate where does the object in image-1 locate in the image-2."

FRAMES = 6


def numbered(wording: str, number: int) -> str:
    """The wording for one image, counted as the data set does: 1th, 2th, 3th."""
    return wording.replace("{n}", str(number))


def common_object(rng: np.random.Generator, split: Split) -> Plan:
    """Three to five images; one kind is in all of them, in every second set in varying colours."""
    pool = nameless_looks(split)
    count = int(rng.integers(3, 6))
    kinds = sorted({look.kind for look in pool})
    kind = kinds[int(rng.integers(len(kinds)))]
    targets = choose(rng, [look for look in pool if look.kind == kind], count)
    if rng.random() < 0.5:
        targets = targets[:1] * count
    # So that nothing else is common: every other kind is kept out of one image at least, and so
    # is every colour that the targets do not share.
    lacks: list[set[str]] = [{kind, target.colour} for target in targets]
    for other in kinds:
        lacks[int(rng.integers(count))].add(other)
    for colour in sorted({look.colour for look in pool}):
        free = [place for place, target in enumerate(targets) if target.colour != colour]
        if free:
            lacks[int(rng.choice(free))].add(colour)
    pages = []
    for target, lacking in zip(targets, lacks, strict=True):
        allowed = [look for look in pool if not {look.kind, look.colour} & lacking]
        size = random_size(rng)
        looks = [target, *_of_different_kinds(rng, allowed, int(rng.integers(1, 4)))]
        pages.append(Page(size, random_backdrop(rng), tuple(scatter_looks(rng, size, looks))))
    asks = tuple(Ask(numbered(COMMON, n + 1), n, (0,)) for n in range(count))
    return Plan(tuple(pages), asks)


def _of_different_kinds(rng: np.random.Generator, pool: list[Look], count: int) -> list[Look]:
    by_kind = {look.kind: look for look in choose(rng, pool, len(pool))}
    return list(by_kind.values())[:count]


def refer_grounding(rng: np.random.Generator, split: Split) -> Plan:
    """A thing alone, then a crowded scene that holds it and things of its kind and colour."""
    pool = nameless_looks(split)
    target = choose_one(rng, pool)
    small = random_size(rng, (125, 165), 1.4)
    alone = scatter_looks(rng, small, [target], (0.42, 0.5))
    size = random_size(rng, (175, 235), 1.6)
    looks = [target, *lures(rng, pool, target, int(rng.integers(4, 7)))]
    crowd = scatter_looks(rng, size, looks, (0.18, 0.28))
    pages = (
        Page(small, random_backdrop(rng), tuple(alone)),
        Page(size, random_backdrop(rng), tuple(crowd)),
    )
    return Plan(pages, (Ask(REFER, 1, (0,)),))


def region(rng: np.random.Generator, split: Split) -> Plan:
    """A source image and one to three cuttings of it, each around another thing."""
    pool = nameless_looks(split)
    size = random_size(rng, (200, 255), 1.7)
    items = scatter_looks(rng, size, choose(rng, pool, int(rng.integers(4, 7))), (0.2, 0.3))
    source = Page(size, random_backdrop(rng), tuple(items))
    boxes = [
        _padded(rng, item.box, size)
        for item in (items[place] for place in rng.permutation(len(items)))
    ][: int(rng.integers(1, 4))]
    cuttings = tuple(Cutting(0, box) for box in boxes)
    asks = tuple(Ask(numbered(REGION, n + 1), 0, box) for n, box in enumerate(boxes))
    return Plan((source, *cuttings), asks)


def _padded(rng: np.random.Generator, box: Box, size: Size) -> Box:
    """The box with some surroundings, a different amount on each side."""
    left, right = rng.uniform(0.05, 0.25, 2) * box.width
    top, bottom = rng.uniform(0.05, 0.25, 2) * box.height
    return Box(
        max(0, round(box.left - left)),
        max(0, round(box.top - top)),
        min(size.width, round(box.right + right)),
        min(size.height, round(box.bottom + bottom)),
    )


def multi_view(rng: np.random.Generator, split: Split) -> Plan:
    """One arrangement in two to six views: shifted, zoomed, squeezed, leaning; one thing marked."""
    pool = nameless_looks(split)
    target = choose_one(rng, pool)
    looks = [*lures(rng, pool, target, int(rng.integers(2, 4))), target]
    square = Size(200, 200)
    arrangement = scatter_looks(rng, square, looks, (0.2, 0.28))
    backdrop = random_backdrop(rng)
    count = int(rng.integers(2, 7))
    pages = [first_valid(lambda: _seen(rng, square, arrangement)) for _ in range(count)]
    plan_pages = tuple(
        Page(
            size,
            backdrop,
            items,
            view,
            marked=(len(items) - 1,) if place == 0 else (),
        )
        for place, (size, items, view) in enumerate(pages)
    )
    asks = tuple(
        Ask(numbered(MULTI_VIEW, n + 1), n, (len(plan_pages[n].items) - 1,))
        for n in range(1, count)
    )
    return Plan(plan_pages, asks)


def _seen(
    rng: np.random.Generator, square: Size, arrangement: list[Item]
) -> tuple[Size, tuple[Item, ...], View] | None:
    """The arrangement from another side; None where that side hides the target (the last thing)."""
    size = random_size(rng, (150, 215), 1.5)
    view = View(rng.uniform(0.85, 1.3), rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2))
    squeeze, lean = rng.uniform(0.82, 1.0), rng.uniform(-9, 9)
    seen = []
    for item in arrangement:
        box = seen_box(item.box, square, size, view)
        x, y = box.centre
        box = Box.around(x, y, box.width * squeeze, box.height)
        seen.append(replace(item, box=box, turn=item.turn + lean))
    *others, target = seen
    if not (target.box.fits(size, EDGE) and large_enough(target.box, size)):
        return None
    frame = Box(0, 0, size.width, size.height)
    others = [item for item in others if item.box.overlap(frame) > 0.5 * item.box.area]
    boxes = [item.box for item in others]
    apart = all(clear(box, boxes[:n], 1) for n, box in enumerate(boxes))
    if not others or not apart or not clear(target.box, boxes):
        return None
    return size, (*others, target), view


def object_tracking(rng: np.random.Generator, split: Split) -> Plan:
    """Six frames of one camera; every thing moves on a path of its own; one is marked in the first.

    All things differ in colour, and nothing passes in front of the marked one.
    """
    size, backdrop = random_size(rng, (140, 185), 1.6), random_backdrop(rng)
    shuffled = choose(rng, nameless_looks(split), 64)
    looks = list({look.colour: look for look in shuffled}.values())
    paths = first_valid(lambda: _traffic(rng, size, looks[: int(rng.integers(3, 6))]))
    frames = zip(*paths[1:], paths[0], strict=True)
    last = len(paths) - 1
    pages = tuple(
        Page(size, backdrop, items, marked=(last,) if place == 0 else ())
        for place, items in enumerate(frames)
    )
    asks = tuple(Ask(numbered(TRACKING, n + 1), n, (last,)) for n in range(1, FRAMES))
    return Plan(pages, asks)


def _traffic(rng: np.random.Generator, size: Size, looks: list[Look]) -> list[list[Item]] | None:
    """Every thing in all frames, the one to follow first; None where it would move alone.

    A crowded image may leave no free way for some: then fewer things move.
    """
    target = first_valid(lambda: _path(rng, size, looks[0], [], far=0.45))
    paths = [target]
    for look in looks[1:]:
        tries = (_path(rng, size, look, paths, far=0.1) for _ in range(60))
        path = next((path for path in tries if path is not None), None)
        paths += [path] if path else []
    return paths if len(paths) > 1 else None


def _path(
    rng: np.random.Generator, size: Size, look: Look, others: list[list[Item]], far: float
) -> list[Item] | None:
    """The thing in every frame, on a slightly bent way with a slight change of size and turn.

    None where the way is shorter than ``far`` mean image sides, leaves the image or meets another.
    """
    width, height = random_sides(rng, size, look.kind, (0.2, 0.27))
    x, y, stop_x, stop_y = rng.random(4) * np.tile([size.width - width, size.height - height], 2)
    way_x, way_y = stop_x - x, stop_y - y
    bow, growth = rng.uniform(-0.25, 0.25), rng.uniform(0.85, 1.18)
    turn, turning = rng.uniform(-8, 8), rng.uniform(-12, 12)
    if math.hypot(way_x, way_y) < far * math.sqrt(size.width * size.height):
        return None
    items: list[Item] = []
    for frame in range(FRAMES):
        along = frame / (FRAMES - 1)
        swing, zoom = bow * math.sin(math.pi * along), growth**along
        box = Box.around(
            x + width / 2 + along * way_x - swing * way_y,
            y + height / 2 + along * way_y + swing * way_x,
            width * zoom,
            height * zoom,
        )
        free = box.fits(size, EDGE) and clear(box, [other[frame].box for other in others])
        if not (free and large_enough(box, size)):
            return None
        items.append(Item(look, box, turn + along * turning))
    return items
