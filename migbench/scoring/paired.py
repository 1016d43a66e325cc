"""Statistics of paired differences: interval, sign-flip permutation test, detectable effect.

A target's difference is 1 where only the second run hits it, -1 where only the first does, else 0.
Differences are summed by image cluster (`Sums`), like hits. ``docs/statistics.md`` has the
formulas, with their sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from migbench.scoring.bootstrap import interval_of, macro_interval
from migbench.scoring.uncertainty import (
    FEW_CASES,
    FEW_CLUSTERS,
    LEVEL,
    Floats,
    Interval,
    Sums,
    correlate,
    root_sum_of_squares,
    t_quantile,
)

POWER = 0.8
"""Chance of finding the minimum detectable effect."""
PERMUTATIONS = 100_000
"""Random permutations behind a macro average's p; the tasks' need none."""
DIGITS = 12
"""To which a task's p is computed; smaller ones than the last digit are given as that."""
ROUNDING = 1e-12
"""Sums of shares that differ by less are equal."""

Key = TypeVar("Key")


def difference_interval(differences: Sums) -> Interval | None:
    """The interval of a paired difference; None where a single cluster says nothing about others.

    Student's t on clusters. Where clusters are few, or the runs differ in few of them, two made-up
    ones are added, of a usual cluster's size, all wins and all losses: what Bonett and Price (2012)
    add to pairs. Two equal runs thus have an interval with a width.
    """
    if not differences.freedom:
        return None
    few = is_sparse(differences)
    used = with_pseudo_clusters(differences) if few else differences
    margin = t_quantile((1 + LEVEL) / 2, used.freedom) * used.error
    return Interval(
        error=100 * used.error,
        low=100 * max(used.mean - margin, -1.0),
        high=100 * min(used.mean + margin, 1.0),
        method="adjusted" if few else "t",
    )


def minimum_detectable_effect(differences: Sums) -> float | None:
    """The smallest true difference, in points, that this data would show with 80 % power.

    Two-sided, at 5 %: the sum of both quantiles of Student's t times the standard error (Bloom
    1995). It is about one comparison; Holm's correction over several needs a larger one.
    """
    if not differences.freedom:
        return None
    used = with_pseudo_clusters(differences) if is_sparse(differences) else differences
    quantiles = t_quantile((1 + LEVEL) / 2, used.freedom) + t_quantile(POWER, used.freedom)
    return 100 * quantiles * used.error


def is_sparse(differences: Sums) -> bool:
    """Whether clusters are few, or the runs differ in few of them."""
    differing = int(np.count_nonzero(differences.totals))
    return differences.freedom + 1 < FEW_CLUSTERS or differing < FEW_CASES


def with_pseudo_clusters(differences: Sums) -> Sums:
    """The same with a cluster of wins and a cluster of losses more.

    Their size is that of the cluster in which a target finds itself on average.
    """
    usual = float((differences.sizes**2).sum()) / differences.n
    numbers = np.array([-2, -1])  # Real clusters count from 0.
    return Sums(
        np.concatenate([numbers, differences.clusters]),
        np.concatenate([[-usual, usual], differences.totals]),
        np.concatenate([[usual, usual], differences.sizes]),
    )


def sign_flip_p(differences: Sums) -> float:
    """Two-sided p of a task's difference: a permutation test that flips the signs of clusters.

    If the runs are alike, a cluster's sum of differences is as likely as its negative (Fisher
    1935). The p value is the share of all sign flips whose sum is farther from 0 than the observed,
    and half of those that are equally far: the mid-p. On targets of their own it is McNemar's mid-p
    test, which finds 5 % of false differences where the exact test, on few targets, finds 1 to 3
    (Fagerland, Lydersen and Laake 2013). No flip is drawn: the distribution of the sum, a whole
    number, comes from its characteristic function, the product of the cosines of the clusters'
    sums.

    >>> sign_flip_p(Sums.of([1, 1, 1, 0], [0, 1, 2, 3]))
    0.125
    """
    magnitudes, counts = _grouped(differences.totals)
    observed = round(abs(float(differences.totals.sum())))
    if not observed:
        return 1.0
    farthest = round(float(magnitudes @ counts))
    points = 2 * farthest + 1
    angles = 2 * np.pi * np.arange(farthest + 1) / points
    transform = np.ones(farthest + 1)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        transform *= np.cos(angles * magnitude) ** count
    # Shares of sums of 0, 1, ..., farthest; those below 0 mirror them.
    shares = np.fft.irfft(transform, points)[: farthest + 1]
    p = 2 * float(shares[observed + 1 :].sum()) + float(shares[observed])
    return min(max(round(p, DIGITS), 10.0**-DIGITS), 1.0)


def macro_sign_flip_p(tasks: Sequence[Sums], seed: int, permutations: int = PERMUTATIONS) -> float:
    """The same of the tasks' mean difference, by random permutations of whole clusters.

    The observed one counts as one, so that p is never 0 (Phipson and Smyth 2010). Clusters that
    weigh alike are flipped together: their sum is binomial.
    """
    weights = np.concatenate([task.totals / task.n for task in tasks])
    numbers = np.concatenate([task.clusters for task in tasks])
    _, place = np.unique(numbers, return_inverse=True)
    observed = abs(float(weights.sum()))
    if observed <= ROUNDING:
        return 1.0
    generator = np.random.default_rng(seed)
    flipped = np.zeros(permutations)
    for magnitude, count in zip(*_grouped(np.bincount(place, weights).astype(float)), strict=True):
        flipped += magnitude * (2.0 * generator.binomial(count, 0.5, permutations) - count)
    beyond = np.abs(flipped) - observed
    farther = np.count_nonzero(beyond > ROUNDING)
    as_far = np.count_nonzero(np.abs(beyond) <= ROUNDING)
    return float(farther + (as_far + 1) / 2) / (permutations + 1)


@dataclass(frozen=True, slots=True)
class DifferenceTest:
    """What the data says of a difference; ``mde``, the minimum detectable effect, is in points.

    Interval and effect are None where a single cluster says nothing about others.
    """

    interval: Interval | None
    p: float
    mde: float | None


def difference_test(differences: Sums) -> DifferenceTest:
    """Of one task's mean difference."""
    return DifferenceTest(
        interval_of(differences, difference_interval),
        sign_flip_p(differences),
        minimum_detectable_effect(differences),
    )


def macro_difference_test(tasks: Sequence[Sums], seed: int) -> DifferenceTest:
    """Of the unweighted mean of the tasks' differences; ``seed`` is that of the permutations."""
    effects = [value for each in tasks if (value := minimum_detectable_effect(each)) is not None]
    effect = None
    if len(effects) == len(tasks):
        effect = root_sum_of_squares(effects, correlate(tasks)) / len(effects)
    return DifferenceTest(
        macro_interval(tasks, difference_interval), macro_sign_flip_p(tasks, seed), effect
    )


def _grouped(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The distinct sizes of values that are not 0, and how many have each."""
    sizes = np.abs(values[values != 0])
    magnitudes, counts = np.unique(sizes, return_counts=True)
    return magnitudes, counts.astype(np.int64)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """P values corrected for their number, step by step (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected: dict[Key, float] = {}
    highest = 0.0
    for place, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[key]))
        corrected[key] = highest
    return {key: corrected[key] for key in p_values}
