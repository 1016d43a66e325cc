"""Tasks `diff` and `view_diff`: find the one thing of a scene that was edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from migbench.messages import Size
from migbench.mini.backdrops import random_backdrop
from migbench.mini.layout import (
    EDGE,
    LEAST,
    choose,
    choose_one,
    clear,
    first_valid,
    random_size,
    scatter_looks,
)
from migbench.mini.scene import Ask, Box, Item, Look, Page, Plan, View
from migbench.mini.shapes import COLOURS
from migbench.mini.splits import Split, nameless_looks

DIFF = "Compare these two images carefully and give me the coordinates of their difference. "
VIEW_DIFF = (
    "Compare these two images carefully and give me the coordinates of their real difference in "
    "the second image.  Find it and locate it in the second image. "
)

_APART = 120.0
"""Distance in RGB from which on a change of colour strikes the eye."""

Edit = Callable[[np.random.Generator, Sequence[Look], Item], tuple[Item | None, Item | None]]
"""(rng, looks to take, the thing) -> the thing before and after; None where it is absent."""


def _recolour(
    rng: np.random.Generator, pool: Sequence[Look], item: Item
) -> tuple[Item | None, Item | None]:
    old = np.array(COLOURS[item.look.colour], dtype=np.float64)
    others = [
        look
        for look in pool
        if look.kind == item.look.kind and np.linalg.norm(old - COLOURS[look.colour]) > _APART
    ]
    return item, replace(item, look=choose_one(rng, others))


def _exchange(
    rng: np.random.Generator, pool: Sequence[Look], item: Item
) -> tuple[Item | None, Item | None]:
    others = [
        look for look in pool if look.kind != item.look.kind and look.colour != item.look.colour
    ]
    return item, replace(item, look=choose_one(rng, others))


STATIC_EDITS: MappingProxyType[str, Edit] = MappingProxyType(
    {
        "added": lambda rng, pool, item: (None, item),
        "removed": lambda rng, pool, item: (item, None),
        "recoloured": _recolour,
    }
)
ROBUST_EDITS: MappingProxyType[str, Edit] = MappingProxyType(
    {
        "added": lambda rng, pool, item: (None, item),
        "recoloured": _recolour,
        "exchanged": _exchange,
    }
)
"""Edits whose result is there to be found in the second image."""


def diff(rng: np.random.Generator, split: Split) -> Plan:
    """The same picture twice, one thing added, removed or recoloured."""
    size, backdrop = random_size(rng), random_backdrop(rng)
    before, after = _edited(rng, split, size, STATIC_EDITS)
    target, page = (len(after) - 1, 1) if len(after) >= len(before) else (len(before) - 1, 0)
    pages = (Page(size, backdrop, before), Page(size, backdrop, after))
    return Plan(pages, (Ask(DIFF, page, (target,)),))


def view_diff(rng: np.random.Generator, split: Split) -> Plan:
    """A thing added, recoloured or exchanged while the camera moves and zooms a little."""
    backdrop = random_backdrop(rng)

    def propose() -> Plan | None:
        size = random_size(rng)
        before, after = _edited(rng, split, size, ROBUST_EDITS)
        width, height = rng.uniform(0.85, 1.15) * np.array(size) * rng.uniform(0.94, 1.06, 2)
        turned = Size(*(int(np.clip(round(side), 112, 336)) for side in (width, height)))
        view = View(rng.uniform(0.88, 1.12), rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.08))
        seen = tuple(replace(item, box=seen_box(item.box, size, turned, view)) for item in after)
        boxes = [item.box for item in seen]
        good = all(box.fits(turned, EDGE) for box in boxes) and large_enough(boxes[-1], turned)
        if not good or not all(clear(box, boxes[:n], 1) for n, box in enumerate(boxes)):
            return None
        pages = (Page(size, backdrop, before), Page(turned, backdrop, seen, view))
        return Plan(pages, (Ask(VIEW_DIFF, 1, (len(seen) - 1,)),))

    return first_valid(propose)


def seen_box(box: Box, size: Size, turned: Size, view: View) -> Box:
    """Where a box of an image of ``size`` appears in one of size ``turned``, seen from ``view``."""
    x, y = view.sees(box.centre[0] / size.width, box.centre[1] / size.height)
    zoom = view.scale * (turned.width * turned.height / (size.width * size.height)) ** 0.5
    return Box.around(x * turned.width, y * turned.height, box.width * zoom, box.height * zoom)


def large_enough(box: Box, size: Size) -> bool:
    """Whether a small model has a chance to find it."""
    return box.width >= LEAST * size.width and box.height >= LEAST * size.height


def _edited(
    rng: np.random.Generator, split: Split, size: Size, edits: MappingProxyType[str, Edit]
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The things before and after; the edited one is the last where it is present."""
    pool = nameless_looks(split)
    looks = choose(rng, pool, int(rng.integers(4, 7)))
    *others, item = scatter_looks(rng, size, looks)
    edit = edits[str(rng.choice(list(edits)))]
    before, after = edit(rng, [look for look in pool if look not in looks], item)
    return (
        (*others, *([before] if before else [])),
        (*others, *([after] if after else [])),
    )
