"""From a plan to images and answers. Boxes are measured on the pixels that were drawn."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from migbench.messages import Size
from migbench.mini.scene import Ask, Box, Cutting, Fractions, ImageSet, Item, Page, Plan, Question
from migbench.mini.shapes import COLOURS, OUTLINES, Outline

Mask = NDArray[np.uint8]
"""How much of each pixel a shape covers, 0-255, shape (height, width)."""

MARKER = (255, 0, 0)
"""The colour of the box that marks a reference object; nothing else has it."""

_FINE = 4
"""Shapes are drawn so many times larger and then averaged, which smooths their edges."""
_VISIBLE = 32
"""A pixel belongs to a shape from this coverage on; fainter ones cannot be seen."""
_COVERING = 128
"""A pixel is hidden by what lies on top from this coverage on."""


def marker_width(size: Size) -> int:
    """Line width of the red box, in pixels."""
    return 2 if min(size) < 180 else 3


def draw_page(page: Page) -> tuple[Image.Image, tuple[Box, ...]]:
    """The image without a marker, and the visible extent of every item, in the items' order.

    Raises `ValueError` when an item is hidden or lies outside: the plan is wrong.
    """
    image = page.backdrop.render(page.size, page.view)
    masks = [_paint(image, item) for item in page.items]
    hidden = np.zeros((page.size.height, page.size.width), dtype=np.bool_)
    extents: list[Box] = []
    for item, mask in zip(reversed(page.items), reversed(masks), strict=True):
        visible = (mask >= _VISIBLE) & ~hidden
        rows, columns = (np.flatnonzero(visible.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            raise ValueError(f"the {item.look.name} at {item.box} cannot be seen")
        extents.append(Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
        hidden |= mask >= _COVERING
    return image, tuple(reversed(extents))


def mark(image: Image.Image, box: Box) -> None:
    """Draw the red box just outside ``box``, so that its inner edge is the box."""
    width = marker_width(Size(*image.size))
    frame = box.grown(width)
    ImageDraw.Draw(image).rectangle(
        (frame.left, frame.top, frame.right - 1, frame.bottom - 1), outline=MARKER, width=width
    )


Drawn = tuple[list[Image.Image], list[tuple[Box, ...]]]
"""The images of a plan, and the extents of what each shows."""


def draw(plan: Plan, task: str, need_format: bool) -> ImageSet:
    """Draw all pages of a plan and measure the answers to its questions."""
    return ask_about(plan, task, draw_pages(plan), need_format)


def ask_about(plan: Plan, task: str, drawn: Drawn, need_format: bool) -> ImageSet:
    """A plan's questions about its drawn pages."""
    images, extents = drawn
    questions = tuple(_question(ask, plan, images, extents, need_format) for ask in plan.asks)
    return ImageSet(task, tuple(images), questions)


def draw_pages(plan: Plan) -> Drawn:
    """The images of a plan, and the visible extent of every item of each; a cutting has none."""
    images: list[Image.Image] = []
    extents: list[tuple[Box, ...]] = []
    for page in plan.pages:
        if isinstance(page, Cutting):
            box = page.box
            image = images[page.page].crop((box.left, box.top, box.right, box.bottom))
            images.append(image)
            extents.append(())
            continue
        image, boxes = draw_page(page)
        if page.marked:
            mark(image, _around(boxes, page.marked))
        images.append(image)
        extents.append(boxes)
    return images, extents


def _question(
    ask: Ask,
    plan: Plan,
    images: list[Image.Image],
    extents: list[tuple[Box, ...]],
    need_format: bool,
) -> Question:
    target = ask.target if isinstance(ask.target, Box) else _around(extents[ask.page], ask.target)
    answer = target.fractions(Size(*images[ask.page].size))
    first = plan.pages[0]
    written = {"{answer}": _in_thousandths(answer)}
    if isinstance(first, Page) and first.marked:
        reference = _around(extents[0], first.marked)
        written["{mark}"] = _in_thousandths(reference.fractions(first.size))
    text, info = ask.wording, ask.additional_info
    for placeholder, value in written.items():
        text, info = text.replace(placeholder, value), info.replace(placeholder, value)
    return Question(text, ask.page, answer, info, need_format)


def _around(boxes: tuple[Box, ...], items: tuple[int, ...]) -> Box:
    return reduce(Box.joined, (boxes[item] for item in items))


def _in_thousandths(fractions: Fractions) -> str:
    x1, y1, x2, y2 = (round(1000 * value) for value in fractions)
    return f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"


def _paint(image: Image.Image, item: Item) -> Mask:
    """Draw one item on the image; return its coverage of the whole image."""
    box = item.box
    fine = _fine_silhouette(OUTLINES[item.look.kind], item)
    rim = max(1.3, 0.035 * min(box.width, box.height))
    shape, inside = _averaged(fine), _averaged(_eroded(fine, rim * _FINE))
    colour = np.array(COLOURS[item.look.colour], dtype=np.float64)
    rim_colour = tuple(int(level) for level in np.rint(0.5 * colour))
    place = (box.left, box.top)
    image.paste(rim_colour, (*place, box.right, box.bottom), Image.fromarray(shape))
    image.paste(_shaded(colour, box.width, box.height), place, Image.fromarray(inside))
    whole = Image.new("L", image.size)
    whole.paste(Image.fromarray(shape), place)
    return np.asarray(whole)


def _fine_silhouette(outline: Outline, item: Item) -> Mask:
    """The outline, mirrored and turned, then stretched to fill the item's box."""
    width, height = item.box.width, item.box.height
    cos, sin = np.cos(np.radians(item.turn)), np.sin(np.radians(item.turn))
    motion = np.array([[-1.0 if item.mirrored else 1.0, 0.0], [0.0, 1.0]])
    motion = motion @ np.array([[cos, sin], [-sin, cos]])
    corners = [patch.points @ motion for patch in outline]
    solid = np.concatenate(
        [points for points, patch in zip(corners, outline, strict=True) if not patch.hole]
    )
    low, high = solid.min(axis=0), solid.max(axis=0)
    # Pillow counts the pixels that a corner falls on, hence the - 1.
    scale = (np.array([width, height]) * _FINE - 1) / (high - low)
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(canvas)
    for points, patch in zip(corners, outline, strict=True):
        placed = (points - low) * scale
        pen.polygon([(float(x), float(y)) for x, y in placed], fill=0 if patch.hole else 255)
    return np.asarray(canvas)


def _averaged(fine: Mask) -> Mask:
    return np.asarray(Image.fromarray(fine).reduce(_FINE))


def _eroded(fine: Mask, radius: float) -> Mask:
    """The shape without a rim of ``radius`` fine pixels."""
    reach = int(np.ceil(radius))
    padded = np.pad(fine, reach)
    kept = fine.copy()
    for angle in np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False):
        x = reach + round(radius * np.cos(angle))
        y = reach + round(radius * np.sin(angle))
        np.minimum(kept, padded[y : y + fine.shape[0], x : x + fine.shape[1]], out=kept)
    return kept


def _shaded(colour: NDArray[np.float64], width: int, height: int) -> Image.Image:
    """The colour, a little lighter at the top than at the bottom."""
    light = np.linspace(1.07, 0.93, height)[:, None, None]
    levels = np.clip(np.rint(colour * light), 0, 255).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(levels, (height, width, 3)).copy())
