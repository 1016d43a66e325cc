"""Standard errors and 95 % intervals of accuracies, from sums over image clusters.

Targets whose image sets share an image are not independent: questions about one image set succeed
and fail together. The unit of every error here is therefore the cluster
(`migbench.data.annotations.Annotations.clusters`), and the number of clusters gives the degrees of
freedom. ``docs/statistics.md`` has the formulas, with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
"""Coverage of every interval."""
FEW_CLUSTERS = 30
"""With fewer clusters, a standard error is too uncertain itself for Student's t to mend."""
FEW_CASES = 10
"""With fewer effective hits, or misses, an accuracy is not near enough to normal."""

Method = Literal["t", "wilson", "adjusted", "combined", "bootstrap"]

Floats = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A 95 % interval from ``low`` to ``high`` in percent, and the standard error in points.

    ``method``: ``t`` for Student's t on clusters, ``wilson`` for accuracies near 0 or 100 or of few
    clusters, ``adjusted`` for the same case of a difference, ``combined`` for a mean of tasks from
    the tasks' intervals, ``bootstrap`` for percentiles of resampled clusters.
    """

    error: float
    low: float
    high: float
    method: Method


@dataclass(frozen=True)
class Sums:
    """One quantity of one group of targets, summed by cluster.

    ``clusters`` are the clusters' numbers, each once and rising; ``totals`` the sums of the
    targets' values (hits: 0 or 1; paired differences: -1, 0 or 1), ``sizes`` their
    numbers of targets, all positive. ``resampled`` are the means in resamples of the clusters, if
    these were made (`migbench.scoring.bootstrap`).
    """

    clusters: NDArray[np.int64]
    totals: Floats
    sizes: Floats
    resampled: Floats | None = None

    @classmethod
    def of(cls, values: ArrayLike, clusters: ArrayLike) -> Self:
        """From every target's value and cluster.

        >>> Sums.of([1, 0, 1], [7, 3, 7]).totals.tolist()
        [0.0, 2.0]
        """
        numbers, place = np.unique(np.asarray(clusters, dtype=np.int64), return_inverse=True)
        totals = np.bincount(place, np.asarray(values, dtype=float))
        return cls(numbers, totals.astype(float), np.bincount(place).astype(float))

    @cached_property
    def n(self) -> float:
        """Number of targets."""
        return float(self.sizes.sum())

    @cached_property
    def mean(self) -> float:
        """The mean over targets."""
        return float(self.totals.sum()) / self.n

    @cached_property
    def influences(self) -> Floats:
        """What each cluster contributes to the error of the mean; needs two clusters.

        The residuals of the clusters' sums, over the number of targets, with the usual correction
        G / (G - 1): their root sum of squares is the cluster-robust standard error of a regression
        on a constant (Liang and Zeger 1986; CR1 in Cameron and Miller 2015).
        """
        number = len(self.clusters)
        correction = math.sqrt(number / (number - 1))
        influences: Floats = correction * (self.totals - self.mean * self.sizes) / self.n
        return influences

    @cached_property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(np.linalg.norm(self.influences))

    @property
    def freedom(self) -> int:
        """Degrees of freedom: clusters less one."""
        return len(self.clusters) - 1


def accuracy_interval(hits: Sums) -> Interval | None:
    """The interval of an accuracy; None where a single cluster says nothing about others.

    Student's t with as many degrees of freedom as clusters less one; where clusters, hits or misses
    are few, Wilson's interval with the effective number of targets for their number and Student's t
    for z (Kott and Carr 1997; compared with others by Dean and Pagano 2015). Where every cluster is
    alike, the effective number is Kish's (1965) for targets that succeed and fail by whole
    clusters.
    """
    if not hits.freedom:
        return None
    quantile = t_quantile((1 + LEVEL) / 2, hits.freedom)
    effective = _effective_size(hits)
    few = effective * min(hits.mean, 1 - hits.mean) < FEW_CASES
    if hits.error == 0 or few or hits.freedom + 1 < FEW_CLUSTERS:
        return _interval(hits.error, *_wilson(hits.mean, effective, quantile), method="wilson")
    margin = quantile * hits.error
    return _interval(hits.error, hits.mean - margin, hits.mean + margin, method="t")


def _effective_size(hits: Sums) -> float:
    """How many independent targets would leave the same error; at most as many as there are.

    The cap is Korn and Graubard's (1998).
    """
    if hits.error == 0:
        return hits.n**2 / float((hits.sizes**2).sum())
    return min(hits.n, hits.mean * (1 - hits.mean) / hits.error**2)


def _wilson(mean: float, n: float, quantile: float) -> tuple[float, float]:
    """Wilson's (1927) limits for a share of ``n``; they never leave 0-1."""
    weight = quantile**2 / n
    centre = (mean + weight / 2) / (1 + weight)
    margin = math.sqrt(weight * mean * (1 - mean) + weight**2 / 4) / (1 + weight)
    return max(centre - margin, 0.0), min(centre + margin, 1.0)


def mean_interval(
    values: Sequence[float],
    intervals: Sequence[Interval | None],
    correlations: Floats | None = None,
) -> Interval | None:
    """The interval of an unweighted mean of ``values``, in percent like their ``intervals``.

    Each limit is as far from the mean as the values' limits on that side make it: the root of the
    sum of their squared distances, over their number (the method of variance estimates recovery:
    Zou and Donner 2008). ``correlations`` are those of the values' errors; without them they are
    independent. None where a value has no interval.
    """
    known = [interval for interval in intervals if interval is not None]
    if not known or len(known) < len(intervals):
        return None
    mean = sum(values) / len(values)

    def together(distances: Sequence[float]) -> float:
        return root_sum_of_squares(distances, correlations) / len(values)

    below = [value - each.low for value, each in zip(values, known, strict=True)]
    above = [each.high - value for value, each in zip(values, known, strict=True)]
    return Interval(
        error=together([each.error for each in known]),
        low=mean - together(below),
        high=mean + together(above),
        method="combined",
    )


def root_sum_of_squares(values: Sequence[float], correlations: Floats | None = None) -> float:
    """The size of a sum of errors of these sizes."""
    if correlations is None:
        return math.sqrt(sum(value * value for value in values))
    vector = np.asarray(values)
    return math.sqrt(max(float(vector @ correlations @ vector), 0.0))


def correlate(groups: Sequence[Sums]) -> Floats | None:
    """Correlations of the groups' errors, where groups share clusters; None where none do.

    No cluster of the published annotation files crosses tasks.
    """
    numbers = np.concatenate([group.clusters for group in groups])
    if len(np.unique(numbers)) == len(numbers):
        return None
    matrix = np.eye(len(groups))
    for (row, one), (column, other) in combinations(enumerate(groups), 2):
        size = one.error * other.error if one.freedom and other.freedom else 0
        if size:
            _, ours, theirs = np.intersect1d(
                one.clusters, other.clusters, assume_unique=True, return_indices=True
            )
            shared = float(one.influences[ours] @ other.influences[theirs])
            matrix[row, column] = matrix[column, row] = shared / size
    return matrix


@cache
def t_quantile(probability: float, freedom: float) -> float:
    """Student's t: the value below which a share of ``probability`` lies."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def _interval(error: float, low: float, high: float, *, method: Method) -> Interval:
    return Interval(error=100 * error, low=100 * low, high=100 * high, method=method)
