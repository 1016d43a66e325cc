"""Whether boxes can be what they are declared to be, judged from their numbers alone.

No known boxes are needed: a convention that is read wrongly leaves boxes beyond the image, in one
corner of it, or upside down, and pixels grow with the image where thousandths do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from migbench.boxes import Box, Convention, FloatArray, Order, Original, PaddedSquare
from migbench.checks.doctor.answers import Numbers
from migbench.checks.doctor.bias import Estimate
from migbench.messages import Size
from migbench.scoring.uncertainty import LEVEL, t_quantile

CORNER = 0.5
"""A box lies in a corner where it keeps to one half of the image in both directions."""
LEAST_SPREAD = 0.1
"""Of the logarithm of images' sides: with less, pixels do not show."""
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Given:
    """The numbers of one answer, and the size of the image that they are about, where known."""

    numbers: Numbers
    size: Size | None
    cluster: int


class Numerals(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers of ``n`` boxes look like; shares are in percent of the boxes.

    ``beyond`` is the share with a number beyond the frame (None where sizes in pixels are needed
    and not known), ``decimals`` of those with no number above 1, ``corner`` of the boxes in the
    corner that holds most, ``same`` of the most frequent box. ``upright`` is, for each order, the
    share of boxes whose edges stand in their order and inside the frame. ``growth`` is by how many
    percent the numbers are larger where the image's side (of a pixel convention: as its frame has
    it) is larger by one percent: 1 for pixels, 0 for relative numbers; None where sizes are not
    known or hardly vary.
    """

    n: int
    largest: float
    beyond: float | None
    decimals: float
    corner: float | None
    same: float
    same_box: Numbers
    upright: dict[Order, float] | None
    sizes_known: int
    growth: Estimate | None


def numerals(given: Sequence[Given], convention: Convention) -> Numerals | None:
    """What the numbers look like under a convention; None where there are none."""
    if not given:
        return None
    written = np.array([each.numbers for each in given], dtype=float)
    same_box, times = Counter(each.numbers for each in given).most_common(1)[0]
    known = [each for each in given if each.size or not convention.needs_size]
    boxes = _boxes(known, convention)
    return Numerals(
        n=len(given),
        largest=float(written.max()),
        beyond=_share((boxes > 1).any(axis=1)) if known else None,
        decimals=_share((written <= 1).all(axis=1)),
        corner=_corner(boxes) if known else None,
        same=100 * times / len(given),
        same_box=same_box,
        upright={
            order: _upright(_boxes(known, replace(convention, order=order))) for order in Order
        }
        if known
        else None,
        sizes_known=sum(each.size is not None for each in given),
        growth=_growth(given, convention),
    )


def _boxes(given: Sequence[Given], convention: Convention) -> FloatArray:
    boxes: list[Box] = [convention.to_unit(each.numbers, each.size) for each in given]
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _share(flags: npt.ArrayLike) -> float:
    return 100 * float(np.asarray(flags).mean())


def _corner(boxes: FloatArray) -> float:
    """The share of boxes in the fullest corner."""
    low = [(boxes[:, axis::2] <= CORNER).all(axis=1) for axis in (0, 1)]
    high = [(boxes[:, axis::2] >= CORNER).all(axis=1) for axis in (0, 1)]
    return max(_share(x & y) for x in (low[0], high[0]) for y in (low[1], high[1]))


def _upright(boxes: FloatArray) -> float:
    ordered = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    return _share(ordered & (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1))


def _growth(given: Sequence[Given], convention: Convention) -> Estimate | None:
    """The slope of the logarithm of a box's middle on that of the image's side, both axes at once.

    Least squares, each axis about its own means, with an error robust to clusters (Liang and Zeger
    1986; CR1 in Cameron and Miller 2015).
    """
    if isinstance(convention.frame, PaddedSquare):
        return None
    in_order = replace(convention, scale=1.0, frame=Original())
    known = [(each, each.size) for each in given if each.size]
    middles = [_middle(in_order.to_unit(each.numbers)) for each, _ in known]
    usable = [min(middle) > 0 for middle in middles]
    if sum(usable) < FEWEST:
        return None
    keep = np.array(usable)
    y = np.log(np.array(middles)[keep])
    sides = [_sides(convention, size) for _, size in known]
    x = np.log(np.array(sides, dtype=float)[keep])
    clusters = np.array([each.cluster for each, _ in known])[keep]
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = float((x**2).sum())
    numbers, place = np.unique(clusters, return_inverse=True)
    if len(numbers) < 2 or spread < LEAST_SPREAD**2 * x.size:
        return None
    slope = float((x * y).sum()) / spread
    pulls = np.bincount(place, (x * (y - slope * x)).sum(axis=1))
    correction = len(numbers) / (len(numbers) - 1)
    error = float(np.sqrt(correction * (pulls**2).sum())) / spread
    margin = t_quantile((1 + LEVEL) / 2, len(numbers) - 1) * error
    return Estimate(slope, slope - margin, slope + margin)


def _sides(convention: Convention, size: Size) -> tuple[float, float]:
    """The sides in which the numbers would be pixels: the declared frame's, if it counts in any."""
    return convention.frame.canvas(*size)[:2] if convention.scale is None else size


def _middle(box: Box) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
