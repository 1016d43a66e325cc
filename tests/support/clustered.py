"""Made-up results of clustered targets, for tests of what statistics promise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from migbench.scoring.uncertainty import Sums

Shape = tuple[int, ...]

SHAPES: dict[str, Shape] = {
    "singles": (1,) * 100,
    "sets of five": (5,) * 110,
    "mixed": (1, 2, 3, 4) * 50,
    "one large": (18, *(3, 4) * 38),
}
"""Cluster sizes like those of the benchmark's tasks."""


def simulate(
    rng: np.random.Generator, shape: Shape, accuracy: float, correlation: float, times: int
) -> NDArray[np.float64]:
    """Hits by cluster, ``times`` experiments × clusters.

    A cluster's own accuracy is beta distributed, so that its targets are correlated.
    """
    sizes = np.array(shape)
    own = np.full((times, len(sizes)), accuracy)
    if correlation:
        weight = (1 - correlation) / correlation
        own = rng.beta(accuracy * weight, (1 - accuracy) * weight, own.shape)
    return rng.binomial(sizes, own).astype(float)


def sums(totals: NDArray[np.float64], shape: Shape, first: int = 0) -> Sums:
    """One experiment's totals on clusters numbered from ``first``."""
    return Sums(first + np.arange(len(shape)), totals, np.array(shape, dtype=float))
