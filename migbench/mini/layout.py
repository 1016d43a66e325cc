"""Sizes, places and choices that the tasks share.

Everything random comes from the generator that is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from migbench.messages import Size
from migbench.mini.scene import Box, Item, Look
from migbench.mini.shapes import proportion

EDGE = 5
"""Pixels kept free along an image's edges: room for the red box."""
LEAST = 0.16
"""A thing covers at least this share of the image's width and of its height."""

_SHORTEST, _LONGEST = 112, 336
_TRIES = 5000

T = TypeVar("T")


def random_size(
    rng: np.random.Generator, mean: tuple[float, float] = (150, 225), stretch: float = 1.9
) -> Size:
    """A square, wide or tall image: its mean side in pixels lies in ``mean``, sides in 112-336.

    ``stretch`` bounds the ratio of the longer side to the shorter one.
    """
    side = rng.uniform(*mean)
    low = 1 + 0.4 * (stretch - 1)
    ratio = float(rng.choice([rng.uniform(0.95, 1.05), rng.uniform(low, stretch)]))
    if rng.random() < 0.5:
        ratio = 1 / ratio
    return Size(
        *(
            int(np.clip(round(length), _SHORTEST, _LONGEST))
            for length in (side * math.sqrt(ratio), side / math.sqrt(ratio))
        )
    )


def random_sides(
    rng: np.random.Generator, size: Size, kind: str, share: tuple[float, float] = (0.18, 0.32)
) -> tuple[int, int]:
    """Width and height of a thing of this kind, about ``share`` of the image's longer side."""
    side = min(rng.uniform(*share) * max(size), 0.5 * min(size))
    squeeze = math.sqrt(proportion(kind)) * math.exp(rng.uniform(-0.06, 0.06))
    return at_least(size, side * squeeze, side / squeeze)


def at_least(size: Size, width: float, height: float) -> tuple[int, int]:
    """The sides in whole pixels, raised to the least that a small model can find."""
    return (
        max(round(width), math.ceil(LEAST * size.width)),
        max(round(height), math.ceil(LEAST * size.height)),
    )


def scatter(
    rng: np.random.Generator, size: Size, sides: Sequence[tuple[int, int]], gap: int = 3
) -> list[Box]:
    """Boxes of these sides, in this order, anywhere in the image, ``gap`` pixels apart.

    Where they do not fit they are made smaller, step by step.
    """
    shrink = 1.0
    for _ in range(_TRIES):
        boxes: list[Box] = []
        for width, height in (at_least(size, w * shrink, h * shrink) for w, h in sides):
            box = next(
                (
                    box
                    for box in (_anywhere(rng, size, width, height) for _ in range(40))
                    if clear(box, boxes, gap)
                ),
                None,
            )
            if box is None:
                break
            boxes.append(box)
        if len(boxes) == len(sides):
            return boxes
        shrink *= 0.97
    raise RuntimeError(f"{len(sides)} things do not fit into {size.width} x {size.height} pixels")


def scatter_looks(
    rng: np.random.Generator,
    size: Size,
    looks: Sequence[Look],
    share: tuple[float, float] = (0.18, 0.32),
) -> list[Item]:
    """One item a look, apart from each other, each a little turned."""
    boxes = scatter(rng, size, [random_sides(rng, size, look.kind, share) for look in looks])
    return [
        Item(look, box, float(rng.uniform(-8, 8))) for look, box in zip(looks, boxes, strict=True)
    ]


def clear(box: Box, others: Iterable[Box], gap: int = 3) -> bool:
    """Whether the box keeps ``gap`` pixels away from all others."""
    return not any(box.grown(gap).overlap(other) for other in others)


def first_valid(propose: Callable[[], T | None]) -> T:
    """Propose until something comes of it. Raises `RuntimeError` when nothing ever does."""
    for _ in range(_TRIES):
        found = propose()
        if found is not None:
            return found
    raise RuntimeError("no valid scene was found: the task's conditions are too narrow")


def choose(
    rng: np.random.Generator, pool: Sequence[Look], count: int, avoid: Iterable[Look] = ()
) -> list[Look]:
    """``count`` different looks of the pool, in random order, none of ``avoid``."""
    kept = sorted(set(pool) - set(avoid))
    return [kept[place] for place in rng.permutation(len(kept))[:count]]


def choose_one(rng: np.random.Generator, pool: Sequence[Look]) -> Look:
    """One look of the pool."""
    return pool[int(rng.integers(len(pool)))]


def lures(rng: np.random.Generator, pool: Sequence[Look], target: Look, count: int) -> list[Look]:
    """Looks beside ``target``: first one of its kind, then one of its colour, then any others."""
    same_kind = [look for look in pool if look.kind == target.kind and look != target]
    same_colour = [look for look in pool if look.colour == target.colour and look != target]
    first = [choose_one(rng, same_kind), choose_one(rng, same_colour)][:count]
    return first + choose(rng, pool, count - len(first), avoid=[target, *first])


def _anywhere(rng: np.random.Generator, size: Size, width: int, height: int) -> Box:
    free_x, free_y = size.width - 2 * EDGE - width, size.height - 2 * EDGE - height
    left = EDGE + int(rng.random() * max(1, free_x + 1))
    top = EDGE + int(rng.random() * max(1, free_y + 1))
    return Box(left, top, left + width, top + height)
