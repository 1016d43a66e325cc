"""What one run gains over another: interval, test, and the smallest difference that would show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from migbench.scoring.bootstrap import Bootstrap, bootstrap_interval, resampled_means
from migbench.scoring.paired import (
    difference_interval,
    macro_sign_flip_p,
    sign_flip_p,
    smallest_difference,
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
class Evidence:
    """What the data says of a difference; ``smallest`` is in points.

    Interval and smallest are None where a single cluster says nothing about others.
    """

    interval: Interval | None
    p: float
    smallest: float | None


@dataclass(frozen=True)
class Gains:
    """One task's gains by cluster, and their resampled means if wanted."""

    sums: Sums
    resampled: Floats | None

    @classmethod
    def of(
        cls, values: ArrayLike, clusters: ArrayLike, bootstrap: Bootstrap | None, stream: int
    ) -> Gains:
        """From every target's gain and cluster; ``stream`` as in `resampled_means`."""
        sums = Sums.of(values, clusters)
        if bootstrap is None or not sums.freedom:
            return cls(sums, None)
        (resampled,) = resampled_means([sums], bootstrap, stream)
        return cls(sums, resampled)

    def evidence(self) -> Evidence:
        """Of the task's difference; where resamples never differ, the formula's interval."""
        found = None if self.resampled is None else bootstrap_interval(self.resampled)
        return Evidence(
            found or difference_interval(self.sums),
            sign_flip_p(self.sums),
            smallest_difference(self.sums),
        )


def macro_evidence(tasks: Sequence[Gains], seed: int) -> Evidence:
    """Of the unweighted mean of the tasks' differences; ``seed`` is that of the random flips."""
    sums = [task.sums for task in tasks]
    correlations = correlate(sums)
    smallest = [value for each in sums if (value := smallest_difference(each)) is not None]
    together = None
    if len(smallest) == len(tasks):
        together = root_sum_of_squares(smallest, correlations) / len(smallest)
    resampled = [task.resampled for task in tasks if task.resampled is not None]
    interval = None
    if len(resampled) == len(tasks):
        interval = bootstrap_interval(np.mean(resampled, axis=0))
    formula = mean_interval(
        [100 * each.mean for each in sums], list(map(difference_interval, sums)), correlations
    )
    return Evidence(interval or formula, macro_sign_flip_p(sums, seed), together)
