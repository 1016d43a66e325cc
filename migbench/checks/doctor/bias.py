"""A systematic shift or scale in the answers, edge by edge, and the correction that undoes it.

Estimates are robust: some answers that miss their target altogether do not move them. They come
from images that are shown alone, so that no answer can be about another image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from migbench.boxes import Box, FloatArray, iou
from migbench.checks.doctor.fits import NEGLIGIBLE, Gap, gap
from migbench.models.corrections import Correction
from migbench.scoring.uncertainty import LEVEL

EDGES = ("x1", "y1", "x2", "y2")
FEWEST = 12
"""Boxes below which no estimate is made: the interval of a median needs six, in each half."""


class Estimate(msgspec.Struct, frozen=True):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval holds this value."""
        return self.low <= value <= self.high


class EdgeBias(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of the boxes: what was answered against what is true, both in 0-1 of the image.

    ``shift`` is the median of answered less true, in percent of the image's width or height.
    ``scale`` is the slope of answered on true, and ``offset`` what is answered for 0, in percent:
    the linear correction that fits is (answered - offset) / scale. ``factor`` is what answers must
    be multiplied by where there is no offset.
    """

    edge: str
    shift: Estimate
    scale: Estimate
    offset: float
    factor: Estimate


Edges = tuple[EdgeBias, ...]
Correcting = Callable[[Edges, FloatArray], FloatArray]
"""Corrects boxes by what edges ask for."""


class Effect(msgspec.Struct, frozen=True):
    """What a correction adds to the mean IoU of answers that it was not fitted to."""

    gain: Gap | None

    @property
    def helps(self) -> bool:
        """Whether it certainly makes the boxes fit better, by more than nothing."""
        return self.gain is not None and self.gain.low > 0 and self.gain.mean >= NEGLIGIBLE

    @property
    def hurts(self) -> bool:
        """Whether it certainly makes the boxes fit worse, by more than nothing."""
        return self.gain is not None and self.gain.high < 0 and self.gain.mean <= -NEGLIGIBLE


class Corrected(Effect, frozen=True):
    """The same of a correction as profiles declare it."""

    correction: Correction


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """All four edges, from ``n`` boxes.

    ``x`` and ``y`` are what the linear correction of each axis does: where it helps, the axis is
    off systematically. ``fitting`` is the scaling of y that fits these answers, ``declared`` the
    profile's own correction, if it has one.
    """

    n: int
    edges: Edges
    x: Effect
    y: Effect
    fitting: Corrected
    declared: Corrected | None


def estimate_bias(
    answered: Sequence[Box],
    truths: Sequence[Box],
    clusters: Sequence[int],
    declared: Correction | None,
) -> Bias | None:
    """Shift, scale and factor of every edge; None with fewer than `FEWEST` boxes."""
    if len(answered) < FEWEST:
        return None
    given, true = np.array(answered), np.array(truths)
    before = iou(given, true)
    edges = _edges(given, true)

    def effect(corrected: FloatArray) -> Gap | None:
        return gap(iou(corrected, true) - before, clusters)

    linear = [effect(_held_out(given, true, partial(_linear, axis=axis))) for axis in (0, 1)]
    scaled = effect(_held_out(given, true, lambda found, boxes: _applied(_scaling(found), boxes)))
    return Bias(
        n=len(answered),
        edges=edges,
        x=Effect(linear[0]),
        y=Effect(linear[1]),
        fitting=Corrected(scaled, _scaling(edges)),
        declared=Corrected(effect(_applied(declared, given)), declared) if declared else None,
    )


def _held_out(given: FloatArray, true: FloatArray, correct: Correcting) -> FloatArray:
    """All boxes, each half of them corrected by what the other half asks for.

    Corrected by what they ask for themselves, boxes always seem to gain a little.
    """
    corrected = given.copy()
    first = np.arange(len(given)) % 2 == 0
    for half in (first, ~first):
        corrected[half] = correct(_edges(given[~half], true[~half]), given[half])
    return corrected


def _linear(edges: Edges, boxes: FloatArray, axis: int) -> FloatArray:
    corrected = boxes.copy()
    for place in (axis, axis + 2):
        edge = edges[place]
        if edge.scale.value > 0:
            corrected[:, place] = (boxes[:, place] - edge.offset / 100) / edge.scale.value
    return corrected


def _scaling(edges: Edges) -> Correction:
    """The correction of y with these edges' factors."""
    y1, y2 = (round(edges[place].factor.value, 3) for place in (1, 3))
    return Correction(y1=y1, y2=y2, max=0.999, digits=3)


def _applied(correction: Correction, boxes: FloatArray) -> FloatArray:
    return np.array([correction.apply(Box(*box)) for box in boxes.tolist()])


def _edges(answered: FloatArray, true: FloatArray) -> Edges:
    return tuple(_edge(name, answered[:, i], true[:, i]) for i, name in enumerate(EDGES))


def _edge(name: str, answered: FloatArray, true: FloatArray) -> EdgeBias:
    nonzero = answered > 0
    scale = slope(answered, true)
    return EdgeBias(
        edge=name,
        shift=median(100 * (answered - true)),
        scale=scale,
        offset=100 * float(np.median(answered - scale.value * true)),
        factor=median(true[nonzero] / answered[nonzero]),
    )


def median(values: FloatArray) -> Estimate:
    """The median, between the order statistics that hold it with a probability of at least 95 %.

    Which these are, the binomial distribution says (Conover 1999, section 3.2); they are the
    extremes where values are too few for that.
    """
    ordered: NDArray[np.float64] = np.sort(values)
    n = len(ordered)
    if not n:
        return Estimate(math.nan, -math.inf, math.inf)
    beyond, skipped = 0.0, 0
    while skipped < n // 2:
        beyond += math.comb(n, skipped) / 2**n
        if beyond > (1 - LEVEL) / 2:
            break
        skipped += 1
    low = max(skipped - 1, 0)
    return Estimate(float(np.median(ordered)), float(ordered[low]), float(ordered[n - 1 - low]))


def slope(answered: FloatArray, true: FloatArray) -> Estimate:
    """The median of the slopes between all pairs of points (Theil 1950), and its interval.

    The interval is Sen's (1968).
    """
    from scipy.stats import theilslopes

    found = theilslopes(answered, true, alpha=LEVEL)
    return Estimate(float(found.slope), float(found.low_slope), float(found.high_slope))
