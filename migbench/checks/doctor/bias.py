"""A systematic shift or scale in the answers, edge by edge, and the correction that undoes it.

Estimates are robust: some answers that miss their target altogether do not move them. They come
from images that are shown alone, so that no answer can be about another image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from migbench.boxes import Box, FloatArray, iou
from migbench.checks.doctor.ranking import Gap, gap
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


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """All four edges, from ``n`` boxes, and the gains in mean IoU that corrections bring.

    ``x`` and ``y`` are the gains of each axis' linear correction, ``scaling`` the correction of y
    that fits these answers, ``declared`` the profile's own, if it has one. What is fitted is fitted
    to other answers than its gain comes from.
    """

    n: int
    edges: Edges
    x: Gap | None
    y: Gap | None
    scaling: Correction
    scaling_gain: Gap | None
    declared: Correction | None
    declared_gain: Gap | None


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

    def gain(corrected: FloatArray) -> Gap | None:
        return gap(iou(corrected, true) - before, clusters)

    def held_out_gain(correct: Callable[[Edges, FloatArray], FloatArray]) -> Gap | None:
        """Of boxes, each half corrected by what was fitted to the other half.

        Corrected by what was fitted to themselves, boxes always seem to gain a little.
        """
        corrected = given.copy()
        first = np.arange(len(given)) % 2 == 0
        for half in (first, ~first):
            corrected[half] = correct(_edges(given[~half], true[~half]), given[half])
        return gain(corrected)

    return Bias(
        n=len(answered),
        edges=edges,
        x=held_out_gain(lambda found, boxes: _linear(found, boxes, axis=0)),
        y=held_out_gain(lambda found, boxes: _linear(found, boxes, axis=1)),
        scaling=_scaling(edges),
        scaling_gain=held_out_gain(lambda found, boxes: _corrected(_scaling(found), boxes)),
        declared=declared,
        declared_gain=gain(_corrected(declared, given)) if declared else None,
    )


def _linear(edges: Edges, boxes: FloatArray, axis: int) -> FloatArray:
    corrected = boxes.copy()
    for index in (axis, axis + 2):
        edge = edges[index]
        if edge.scale.value > 0:
            corrected[:, index] = (boxes[:, index] - edge.offset / 100) / edge.scale.value
    return corrected


def _scaling(edges: Edges) -> Correction:
    """The correction of y with these edges' factors."""
    y1, y2 = (round(edges[index].factor.value, 3) for index in (1, 3))
    return Correction(y1=y1, y2=y2, max=0.999, digits=3)


def _corrected(correction: Correction, boxes: FloatArray) -> FloatArray:
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

    The extremes where values are too few for that (Conover 1999, section 3.2).
    """
    from scipy.stats import quantile_test

    if not len(values):
        return Estimate(math.nan, -math.inf, math.inf)
    limits = quantile_test(values, p=0.5).confidence_interval(LEVEL)
    low = values.min() if math.isnan(limits.low) else limits.low
    high = values.max() if math.isnan(limits.high) else limits.high
    return Estimate(float(np.median(values)), float(low), float(high))


def slope(answered: FloatArray, true: FloatArray) -> Estimate:
    """The median slope of all pairs of points (Theil 1950), with Sen's interval (1968)."""
    from scipy.stats import theilslopes

    found = theilslopes(answered, true, alpha=LEVEL)
    return Estimate(float(found.slope), float(found.low_slope), float(found.high_slope))
