"""Dense labels: what the cell of an image beneath each token of the vision encoder shows.

Every merged token of Qwen2-VL's vision encoder stands for one cell of its image. A cell is labelled
with the object that covers most of it: its class, its colour, its box, and whether the red box
marks it. A cell of the background is labelled with its own box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from migbench.mini.drawing import Drawn, draw_pages
from migbench.mini.scene import Box, Cutting, Page, Plan
from migbench.mini.shapes import COLOURS, FAMILIAR, PARTS

if TYPE_CHECKING:
    from PIL.Image import Image

CLASS_NAMES = (*FAMILIAR, "handle", "lid", "wheels", "body")
"""What an object can be: a familiar kind, or the job that a part of a composite does."""
_PART_PREFIXES = {"grip": "handle", "rod": "handle", "hoop": "handle", "lid": "lid"}
_COLOURS = tuple(COLOURS)

LEAST_SHARE = 0.3
"""A cell belongs to an object that covers this share of it, or lies in it with this share."""


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """An object of an image: ``box`` in 0-1, ``class_index`` and ``colour`` as places in lists."""

    class_index: int
    colour: int
    box: tuple[float, float, float, float]
    marked: bool


@dataclass(frozen=True, slots=True)
class CellLabels:
    """The labels of an image's cells, row by row: shapes (cells,), boxes (cells, 4).

    ``classes`` and ``colours`` are -1 on the background, where ``boxes`` hold the cell itself.
    """

    classes: NDArray[np.int64]
    colours: NDArray[np.int64]
    marked: NDArray[np.float32]
    boxes: NDArray[np.float32]


def draw_with_objects(plan: Plan) -> tuple[list[Image], list[list[LabelledObject]]]:
    """A plan's images, and the objects that each of them shows."""
    drawn = draw_pages(plan)
    return drawn[0], objects_of(plan, drawn)


def objects_of(plan: Plan, drawn: Drawn) -> list[list[LabelledObject]]:
    """The objects that each drawn page of a plan shows."""
    images, extents = drawn
    objects: list[list[LabelledObject]] = []
    for page, image, boxes in zip(plan.pages, images, extents, strict=True):
        width, height = image.size
        whole = Box(0, 0, width, height)
        seen = []
        if isinstance(page, Cutting):
            source, around = plan.pages[page.page], extents[page.page]
            assert isinstance(source, Page)
            left, top = page.box.left, page.box.top
            for class_index, colour, box, _ in _joined(source, around):
                moved = Box(box.left - left, box.top - top, box.right - left, box.bottom - top)
                if moved.overlap(whole) >= LEAST_SHARE * moved.area:
                    seen.append((class_index, colour, moved, False))
        else:
            seen = _joined(page, boxes)
        objects.append(
            [LabelledObject(m, c, _fractions(box, whole), mark) for m, c, box, mark in seen]
        )
    return objects


def _joined(page: Page, boxes: Sequence[Box]) -> list[tuple[int, int, Box, bool]]:
    """A page's objects; the pieces of one part of a composite are one object."""
    joined: dict[object, tuple[int, int, Box, bool]] = {}
    for number, (item, box) in enumerate(zip(page.items, boxes, strict=True)):
        is_part = item.look.kind in PARTS
        class_index = CLASS_NAMES.index(_class_name(item.look.kind))
        colour = _COLOURS.index(item.look.colour)
        key = (class_index, colour) if is_part else number
        if key in joined:
            box = box.joined(joined[key][2])
        joined[key] = (class_index, colour, box, number in page.marked)
    return list(joined.values())


def _class_name(kind: str) -> str:
    if kind not in PARTS:
        return kind
    return "wheels" if kind == "wheel" else _PART_PREFIXES.get(kind.split()[0], "body")


def _fractions(box: Box, whole: Box) -> tuple[float, float, float, float]:
    edges = np.array([box.left, box.top, box.right, box.bottom], np.float64)
    sides = np.array([whole.right, whole.bottom] * 2, np.float64)
    x1, y1, x2, y2 = np.clip(edges / sides, 0.0, 1.0)
    return float(x1), float(y1), float(x2), float(y2)


def label_cells(objects: Sequence[LabelledObject], rows: int, columns: int) -> CellLabels:
    """The labels of each cell of a grid."""
    cells = grid_cells(rows, columns)
    classes = np.full(len(cells), -1)
    colours = np.full(len(cells), -1)
    marked = np.zeros(len(cells), np.float32)
    boxes = cells.copy()
    if objects:
        found = np.array([object_.box for object_ in objects])
        overlap = shared_areas(cells, found)
        areas = np.prod(found[:, 2:] - found[:, :2], -1)
        share = overlap / np.minimum(areas, 1 / (rows * columns))
        owner = np.argmax(share, axis=1)
        owned = share[np.arange(len(cells)), owner] >= LEAST_SHARE
        classes[owned] = np.array([object_.class_index for object_ in objects])[owner[owned]]
        colours[owned] = np.array([object_.colour for object_ in objects])[owner[owned]]
        marked[owned] = np.array([object_.marked for object_ in objects], np.float32)[owner[owned]]
        boxes[owned] = found[owner[owned]]
    return CellLabels(classes, colours, marked, boxes.astype(np.float32))


def grid_cells(rows: int, columns: int) -> NDArray[np.float64]:
    """The cells of a grid, row by row, as boxes in 0-1: shape (cells, 4)."""
    top, left = np.divmod(np.arange(rows * columns), columns)
    return np.stack([left / columns, top / rows, (left + 1) / columns, (top + 1) / rows], axis=1)


def shared_areas(cells: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each cell shares with each box, shapes (cells, 4) and (n, 4): (cells, n)."""
    ends = np.minimum(cells[:, None, 2:], boxes[:, 2:])
    starts = np.maximum(cells[:, None, :2], boxes[:, :2])
    shared: NDArray[np.float64] = np.prod(np.maximum(ends - starts, 0), -1)
    return shared
