"""Paired differences of two runs: interval, test, and minimum detectable effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from migbench.scoring.bootstrap import Bootstrap, bootstrap_interval, resampled_means
from migbench.scoring.paired import (
    difference_interval,
    macro_sign_flip_p,
    minimum_detectable_effect,
    sign_flip_p,
)
from migbench.scoring.uncertainty import (
    Floats,
    Interval,
    Sums,
    correlate,
    mean_interval,
    root_sum_of_squares,
)


@dataclass(frozen=True, slots=True)
class DifferenceTest:
    """What the data says of a difference; ``mde``, the minimum detectable effect, is in points.

    Interval and effect are None where a single cluster says nothing about others.
    """

    interval: Interval | None
    p: float
    mde: float | None


@dataclass(frozen=True)
class PairedDifferences:
    """One task's differences by cluster, and their resampled means if wanted."""

    sums: Sums
    resampled: Floats | None

    @classmethod
    def of(
        cls, values: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap | None, stream: int
    ) -> PairedDifferences:
        """From every target's difference and cluster; ``stream`` as in `resampled_means`."""
        sums = Sums.of(values, clusters)
        if bootstrap is None or not sums.freedom:
            return cls(sums, None)
        (resampled,) = resampled_means([sums], bootstrap, stream)
        return cls(sums, resampled)

    def test(self) -> DifferenceTest:
        """Of the task's difference; where resamples never differ, the formula's interval."""
        found = None if self.resampled is None else bootstrap_interval(self.resampled)
        return DifferenceTest(
            found or difference_interval(self.sums),
            sign_flip_p(self.sums),
            minimum_detectable_effect(self.sums),
        )


def macro_difference_test(tasks: Sequence[PairedDifferences], seed: int) -> DifferenceTest:
    """Of the unweighted mean of the tasks' differences; ``seed`` is that of the permutations."""
    sums = [task.sums for task in tasks]
    correlations = correlate(sums)
    effects = [value for each in sums if (value := minimum_detectable_effect(each)) is not None]
    effect = None
    if len(effects) == len(tasks):
        effect = root_sum_of_squares(effects, correlations) / len(effects)
    resampled = [task.resampled for task in tasks if task.resampled is not None]
    interval = None
    if len(resampled) == len(tasks):
        interval = bootstrap_interval(np.mean(resampled, axis=0))
    formula = mean_interval(
        [100 * each.mean for each in sums], list(map(difference_interval, sums)), correlations
    )
    return DifferenceTest(interval or formula, macro_sign_flip_p(sums, seed), effect)
