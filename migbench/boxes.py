"""Boxes: intersection over union, and how a model family writes four numbers for a box.

Everywhere in migbench a box is ``x1, y1, x2, y2`` in 0-1 of the original image: the left, top,
right and bottom edge as fractions of its width and height. A `Convention` says how some model
family writes the same box (order, scale, frame) and converts both ways. Conventions are declared,
never guessed from the numbers. This module knows nobody else in migbench.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class Box(NamedTuple):
    """A box in 0-1 of the original image."""

    x1: float
    y1: float
    x2: float
    y2: float

    def repaired(self) -> Box:
        """The same box with its corners sorted and clipped to the image."""
        left, right = sorted((self.x1, self.x2))
        top, bottom = sorted((self.y1, self.y2))
        return Box(*(min(max(edge, 0.0), 1.0) for edge in (left, top, right, bottom)))

    @property
    def is_outside(self) -> bool:
        """Whether an edge lies beyond the image."""
        return min(self) < 0.0 or max(self) > 1.0

    @property
    def is_inverted(self) -> bool:
        """Whether the corners are in the wrong order."""
        return self.x1 > self.x2 or self.y1 > self.y2

    @property
    def has_area(self) -> bool:
        """Whether the box is wider and taller than nothing."""
        return self.x1 < self.x2 and self.y1 < self.y2


def iou(boxes: npt.ArrayLike, others: npt.ArrayLike) -> FloatArray:
    """Intersection over union of boxes, pair by pair; shapes ``(..., 4)``, broadcast.

    Boxes are taken as they are, neither sorted nor clipped: one with its corners in the wrong order
    meets nothing. Boxes that do not overlap give 0, and so do two that have no area, and one whose
    numbers are beyond all measure (a released-protocol answer may hold hundreds of digits).

    >>> float(iou([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]))
    0.5
    """
    a = np.asarray(boxes, dtype=np.float64)
    b = np.asarray(others, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
        height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
        overlap: FloatArray = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        union = _area(a) + _area(b) - overlap
    meet = (overlap > 0) & np.isfinite(union)
    # Rounding must not lift the quotient of two equal tiny boxes above one.
    return np.minimum(np.divide(overlap, union, out=np.zeros_like(overlap), where=meet), 1.0)


def _area(boxes: FloatArray) -> FloatArray:
    area: FloatArray = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


class Order(StrEnum):
    """In which order the four numbers stand."""

    XYXY = "xyxy"
    YXYX = "yxyx"
    XYWH = "xywh"


class Canvas(NamedTuple):
    """The pixel area in which a model sees an image: its size, and where the image lies in it."""

    width: float
    height: float
    left: float
    top: float
    image_width: float
    image_height: float


class _Frame(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True
):
    """The area in which a family's numbers count; a dialect file names it by ``type``."""


class Original(_Frame, frozen=True, tag="original"):
    """The image as it is stored."""

    def canvas(self, width: int, height: int) -> Canvas:
        """The canvas for an image of this size, in pixels."""
        return Canvas(width, height, 0, 0, width, height)


class SmartResized(_Frame, frozen=True, tag="smart-resized"):
    """The image resized to multiples of ``factor``, its area between two bounds in pixels.

    The rule of Qwen2-VL's image processor (`smart_resize` in transformers): each side goes to the
    nearest multiple; where the area then leaves the bounds, both sides are scaled by one ratio
    instead and rounded down or up, back inside.
    """

    factor: int
    min_pixels: int
    max_pixels: int

    def __post_init__(self) -> None:
        """Raise ValueError for bounds that leave no image."""
        if self.factor < 1 or not 1 <= self.min_pixels <= self.max_pixels:
            raise ValueError(
                f"smart resizing needs a factor and bounds of at least 1, the smaller bound first: "
                f"not factor {self.factor}, {self.min_pixels} to {self.max_pixels} pixels"
            )

    def canvas(self, width: int, height: int) -> Canvas:
        """The canvas for an image of this size, in pixels."""
        wide, high = (self._multiple(round, side) for side in (width, height))
        if wide * high > self.max_pixels:
            shrink = math.sqrt(width * height / self.max_pixels)
            wide, high = (
                max(self.factor, self._multiple(math.floor, side / shrink))
                for side in (width, height)
            )
        elif wide * high < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (width * height))
            wide, high = (self._multiple(math.ceil, side * grow) for side in (width, height))
        return Canvas(wide, high, 0, 0, wide, high)

    def _multiple(self, rounding: Callable[[float], int], side: float) -> int:
        return rounding(side / self.factor) * self.factor


class EdgeLimited(_Frame, frozen=True, tag="edge-limited"):
    """The image shrunk, aspect kept, until its longer side is at most ``longest`` pixels.

    With ``patch`` and ``max_patches`` a second limit holds at once: the image covers at most so
    many square patches of ``patch`` pixels, those at its right and bottom edge only in part. It is
    then the largest size that keeps both (Claude). What pads it to whole patches does not count.
    """

    longest: int
    patch: int | None = None
    max_patches: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for limits that leave no image."""
        if self.longest < 1:
            raise ValueError(f"the longer side is at least 1 pixel, not {self.longest}")
        if (self.patch is None) != (self.max_patches is None):
            raise ValueError("patch and max_patches are given together")
        if min(self.patch or 1, self.max_patches or 1) < 1 or 0 in (self.patch, self.max_patches):
            raise ValueError(
                f"a patch has at least 1 pixel and an image at least 1 patch, not {self.patch} "
                f"and {self.max_patches}"
            )

    def canvas(self, width: int, height: int) -> Canvas:
        """The canvas for an image of this size, in pixels.

        >>> EdgeLimited(longest=1568, patch=28, max_patches=1568).canvas(2000, 2000)[:2]
        (1092, 1092)
        """
        longer = max(width, height)
        lengths = range(1, min(self.longest, longer) + 1)
        allowed = len(lengths)
        if not self._fits(self._shrunk(width, height, allowed)):
            allowed = bisect_left(
                lengths, True, key=lambda side: not self._fits(self._shrunk(width, height, side))
            )
        wide, high = self._shrunk(width, height, max(1, allowed))
        return Canvas(wide, high, 0, 0, wide, high)

    def _shrunk(self, width: int, height: int, longer: int) -> tuple[int, int]:
        shrink = longer / max(width, height)
        return max(1, round(width * shrink)), max(1, round(height * shrink))

    def _fits(self, size: tuple[int, int]) -> bool:
        if self.patch is None or self.max_patches is None:
            return True
        wide, high = (-(-side // self.patch) for side in size)
        return wide * high <= self.max_patches


class PaddedSquare(_Frame, frozen=True, tag="padded-square"):
    """The image centred in a square as wide as its longer side (LLaVA-1.5, Shikra)."""

    def canvas(self, width: int, height: int) -> Canvas:
        """The canvas for an image of this size, in pixels."""
        side = max(width, height)
        left, top = (side - width) / 2, (side - height) / 2
        return Canvas(side, side, left, top, width, height)


Frame = Original | SmartResized | EdgeLimited | PaddedSquare

SCALES: tuple[float | None, ...] = (1, 100, 840, 999, 1000, 1023, None)
"""What families are known to write for the far edge of the frame; None for its pixels."""


@dataclass(frozen=True, slots=True)
class Convention:
    """How four numbers stand for a box: their order, scale and reference frame.

    ``scale`` is the number written for the right or bottom edge of the frame (`SCALES` has those
    that are known; 1023 stands for 1024 bins); or None where the numbers are pixels of the frame.
    ``offset`` is added to every edge as it is written: 0.5 where numbers are bins and stand for
    their middle.
    """

    order: Order = Order.XYXY
    scale: float | None = 1000
    frame: Frame = Original()
    offset: float = 0.0

    @property
    def needs_size(self) -> bool:
        """Whether the image's size in pixels is needed to convert."""
        return self.scale is None or isinstance(self.frame, PaddedSquare)

    def to_unit(self, numbers: Sequence[float], size: tuple[int, int] | None = None) -> Box:
        """The box that a model wrote, in 0-1 of an image of ``size`` (width, height in pixels).

        Raises ValueError where the convention needs a size and none is given.

        >>> Convention(Order.YXYX, 1000).to_unit([100, 200, 300, 400])
        Box(x1=0.2, y1=0.1, x2=0.4, y2=0.3)
        """
        a, b, c, d = numbers
        if self.order is Order.YXYX:
            a, b, c, d = b, a, d, c
        elif self.order is Order.XYWH:
            c, d = a + c, b + d
        a, b, c, d = (edge + self.offset for edge in (a, b, c, d))
        x_scale, y_scale, canvas = self._scales(size)
        if canvas is None:
            return Box(a / x_scale, b / y_scale, c / x_scale, d / y_scale)
        horizontal = [
            (x / x_scale * canvas.width - canvas.left) / canvas.image_width for x in (a, c)
        ]
        vertical = [
            (y / y_scale * canvas.height - canvas.top) / canvas.image_height for y in (b, d)
        ]
        return Box(horizontal[0], vertical[0], horizontal[1], vertical[1])

    def from_unit(
        self, box: Box, size: tuple[int, int] | None = None
    ) -> tuple[float, float, float, float]:
        """The four numbers, unrounded, with which a model of this convention would write ``box``.

        Raises ValueError where the convention needs a size and none is given.
        """
        x1, y1, x2, y2 = box
        x_scale, y_scale, canvas = self._scales(size)
        if canvas is not None:
            x1, x2 = ((x * canvas.image_width + canvas.left) / canvas.width for x in (x1, x2))
            y1, y2 = ((y * canvas.image_height + canvas.top) / canvas.height for y in (y1, y2))
        a, b, c, d = x1 * x_scale, y1 * y_scale, x2 * x_scale, y2 * y_scale
        a, b, c, d = (edge - self.offset for edge in (a, b, c, d))
        if self.order is Order.YXYX:
            return b, a, d, c
        if self.order is Order.XYWH:
            return a, b, c - a, d - b
        return a, b, c, d

    def _scales(self, size: tuple[int, int] | None) -> tuple[float, float, Canvas | None]:
        """Written numbers per frame width and height, and the canvas where it matters."""
        if not self.needs_size:
            assert self.scale is not None
            return self.scale, self.scale, None
        if size is None:
            raise ValueError("this convention counts in pixels: it needs the image's size")
        canvas = self.frame.canvas(*size)
        if self.scale is None:
            return canvas.width, canvas.height, canvas
        return self.scale, self.scale, canvas

    def __str__(self) -> str:
        """One line for listings, e.g. ``xyxy, 0-1000``."""
        scale = "pixels" if self.scale is None else f"0-{self.scale:g}"
        frame = "" if isinstance(self.frame, Original) else f" of {type(self.frame).__name__}"
        offset = f" + {self.offset:g}" if self.offset else ""
        return f"{self.order}, {scale}{offset}{frame}"
