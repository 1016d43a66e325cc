"""Resampling clusters: the alternative to formulas for standard errors and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from migbench.scoring.grouping import group_by
from migbench.scoring.uncertainty import (
    LEVEL,
    Floats,
    Interval,
    Sums,
    correlate,
    mean_interval,
)

BATCH = 2**21
"""Drawn cluster numbers that are held at once."""


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """How often clusters are drawn anew, and the seed of the draws."""

    draws: int
    seed: int = 0


def resampled_means(sums: Sequence[Sums], bootstrap: Bootstrap, stream: int = 0) -> Floats:
    """Every quantity's mean in every resample of its clusters, quantities × draws.

    All ``sums`` are on the same clusters, and see the same draws, so that differences between them
    are paired. Groups of targets that are independent need different ``stream`` numbers. Whole
    clusters are drawn with replacement (Davison and Hinkley 1997, section 3.8).
    """
    from scipy.stats import bootstrap as resample

    number = len(sums[0].clusters)
    totals = np.stack([each.totals for each in sums])
    sizes = sums[0].sizes

    def means(drawn: NDArray[np.int64], axis: int = -1) -> Floats:
        """The means in a batch of resamples, one a row, of which only the drawn numbers matter."""
        rows = drawn.reshape(-1, number)
        places = rows + number * np.arange(len(rows))[:, None]
        times = np.bincount(places.ravel(), minlength=rows.size).reshape(-1, number)
        found: Floats = (totals @ times.T) / (times @ sizes)
        return found.reshape(len(totals), *drawn.shape[:-1])

    result = resample(
        (np.arange(number),),
        means,
        n_resamples=bootstrap.draws,
        batch=max(1, BATCH // number),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng((bootstrap.seed, stream)),
    )
    distribution: Floats = result.bootstrap_distribution
    return distribution


def resample(quantities: Sequence[Sums], bootstrap: Bootstrap | None, stream: int) -> list[Sums]:
    """The same quantities with resampled means, if these are wanted and there are two clusters.

    Quantities on the same clusters see the same draws; ``stream`` is as in `resampled_means`.
    """
    found = list(quantities)
    if bootstrap is None:
        return found
    several = [place for place, each in enumerate(quantities) if each.freedom]
    alike = group_by(
        several,
        lambda place: (found[place].clusters.tobytes(), found[place].sizes.tobytes()),
    )
    for places in alike.values():
        means = resampled_means([found[place] for place in places], bootstrap, stream)
        for place, resampled in zip(places, means, strict=True):
            found[place] = replace(found[place], resampled=resampled)
    return found


Formula = Callable[[Sums], Interval | None]
"""Computes the interval of a quantity's mean from its sums."""


def interval_of(sums: Sums, formula: Formula) -> Interval | None:
    """From resamples where they were made and vary, else by the formula."""
    found = None if sums.resampled is None else bootstrap_interval(sums.resampled)
    return found or formula(sums)


def macro_interval(groups: Sequence[Sums], formula: Formula) -> Interval | None:
    """The same of the unweighted mean of the groups' means."""
    resampled = [each.resampled for each in groups if each.resampled is not None]
    found = None
    if resampled and len(resampled) == len(groups):
        found = bootstrap_interval(np.mean(resampled, axis=0))
    return found or mean_interval(
        [100 * each.mean for each in groups], list(map(formula, groups)), correlate(groups)
    )


def bootstrap_interval(distribution: Floats) -> Interval | None:
    """The interval between percentiles of resampled means; None where they never vary.

    Efron 1979. Where all clusters agree, resampling them shows no uncertainty, though there is.
    """
    error = float(np.std(distribution, ddof=1))
    if error == 0:
        return None
    low, high = np.quantile(distribution, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        error=100 * error, low=100 * float(low), high=100 * float(high), method="bootstrap"
    )
