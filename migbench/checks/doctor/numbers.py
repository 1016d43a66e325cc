"""Statistics of the numbers in boxes, from which a wrong declaration shows without known boxes.

A convention that is declared wrongly gives boxes outside the image, in one corner of it, or upside
down, and pixels grow with the image's size where relative numbers do not.
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
"""A box is in a corner where it keeps to one half of the image in both directions."""
LEAST_SPREAD = 0.1
"""Of the logarithm of images' sides: with less, no elasticity is estimated."""
FEWEST = 20


@dataclass(frozen=True, slots=True)
class BoxNumbers:
    """The numbers of one answer, and the size of the image that they are about, where known."""

    numbers: Numbers
    size: Size | None
    cluster: int


class NumberStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of the numbers of ``n`` boxes; shares are in percent of the boxes.

    ``beyond`` is the share with a number beyond the frame (None where sizes in pixels are needed
    and not known), ``decimals`` of those with no number above 1, ``corner`` of the boxes in the
    corner that holds most, ``same`` of the most frequent box. ``upright`` is, for each order, the
    share of boxes whose edges stand in their order and inside the frame. ``elasticity`` is by how
    many percent the numbers are larger where the image's side (of a pixel convention: in its frame)
    is larger by one percent: 1 for pixels, 0 for relative numbers; None where sizes are not known
    or hardly vary.
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
    elasticity: Estimate | None


def number_statistics(
    found: Sequence[BoxNumbers], convention: Convention
) -> NumberStatistics | None:
    """Statistics under a convention; None where there are no boxes."""
    if not found:
        return None
    raw = np.array([each.numbers for each in found], dtype=float)
    same_box, times = Counter(each.numbers for each in found).most_common(1)[0]
    known = [each for each in found if each.size or not convention.needs_size]
    boxes = _boxes(known, convention)
    upright = {order: _upright(_boxes(known, replace(convention, order=order))) for order in Order}
    return NumberStatistics(
        n=len(found),
        largest=float(raw.max()),
        beyond=_share((boxes > 1).any(axis=1)) if known else None,
        decimals=_share((raw <= 1).all(axis=1)),
        corner=_corner(boxes) if known else None,
        same=100 * times / len(found),
        same_box=same_box,
        upright=upright if known else None,
        sizes_known=sum(each.size is not None for each in found),
        elasticity=_elasticity([each for each in found if each.size], convention),
    )


def _boxes(found: Sequence[BoxNumbers], convention: Convention) -> FloatArray:
    boxes: list[Box] = [convention.to_unit(each.numbers, each.size) for each in found]
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _share(flags: npt.ArrayLike) -> float:
    values = np.asarray(flags)
    return 100 * float(values.mean()) if values.size else 0.0


def _corner(boxes: FloatArray) -> float:
    """The share of boxes in the fullest corner."""
    low, high = (boxes <= CORNER), (boxes >= CORNER)
    x, y = ([half[:, axis::2].all(axis=1) for half in (low, high)] for axis in (0, 1))
    return max(_share(left & top) for left in x for top in y)


def _upright(boxes: FloatArray) -> float:
    ordered = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    return _share(ordered & (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1))


def _elasticity(known: Sequence[BoxNumbers], convention: Convention) -> Estimate | None:
    """The slope of the logarithm of a box's centre on that of the image's side, both axes at once.

    Least squares, each axis about its own means, with an error robust to clusters (Liang and Zeger
    1986; CR1 in Cameron and Miller 2015).
    """
    if isinstance(convention.frame, PaddedSquare) or len(known) < FEWEST:
        return None
    boxes = _boxes(known, replace(convention, scale=1.0, frame=Original()))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    # The sides in which the numbers would be pixels: the declared frame's, if it counts in any.
    in_frame = convention.scale is None
    sides = [
        convention.frame.canvas(*each.size)[:2] if in_frame else each.size
        for each in known
        if each.size
    ]
    keep = (centres > 0).all(axis=1)
    if keep.sum() < FEWEST:
        return None
    y, x = np.log(centres[keep]), np.log(np.array(sides, dtype=float)[keep])
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = float((x**2).sum())
    clusters = np.array([each.cluster for each in known])[keep]
    names, indices = np.unique(clusters, return_inverse=True)
    if len(names) < 2 or spread < LEAST_SPREAD**2 * x.size:
        return None
    slope = float((x * y).sum()) / spread
    scores = np.bincount(indices, (x * (y - slope * x)).sum(axis=1))
    correction = len(names) / (len(names) - 1)
    error = float(np.sqrt(correction * (scores**2).sum())) / spread
    margin = t_quantile((1 + LEVEL) / 2, len(names) - 1) * error
    return Estimate(slope, slope - margin, slope + margin)
