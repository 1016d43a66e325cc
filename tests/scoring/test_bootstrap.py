"""Resampled clusters: seeded, paired, and in agreement with the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from support.clustered import SHAPES, simulate, sums

from migbench.scoring.bootstrap import Bootstrap, bootstrap_interval, resampled_means
from migbench.scoring.paired import difference_interval
from migbench.scoring.uncertainty import Interval, Sums, accuracy_interval

SHAPE = SHAPES["mixed"]
DRAWS = Bootstrap(draws=4000, seed=1)


def two_runs() -> tuple[Sums, Sums]:
    first, second = simulate(np.random.default_rng(40), SHAPE, 0.6, 0.4, 2)
    return sums(first, SHAPE), sums(second, SHAPE)


def close(one: Interval | None, other: Interval | None) -> bool:
    assert one is not None
    assert other is not None
    return (one.error, one.low, one.high) == pytest.approx(
        (other.error, other.low, other.high), rel=0.05
    )


def test_resampling_agrees_with_the_formulas() -> None:
    first, second = two_runs()
    means = resampled_means([first, second], DRAWS)
    assert means.shape == (2, 4000)
    assert close(bootstrap_interval(means[0]), accuracy_interval(first))
    differences = Sums(first.clusters, second.totals - first.totals, first.sizes)
    difference = means[1] - means[0]
    formula = difference_interval(differences)
    found = bootstrap_interval(difference)
    assert formula is not None
    assert found is not None
    assert found.error == pytest.approx(formula.error, rel=0.05)
    assert found.low == pytest.approx(formula.low, abs=0.4)
    assert found.method == "bootstrap"


def test_a_resampled_mean_is_that_of_whole_clusters() -> None:
    """Two clusters, of one hit and of three misses: only three means can come of two draws."""
    hits = Sums.of([1, 0, 0, 0], [0, 1, 1, 1])
    (means,) = resampled_means([hits], Bootstrap(draws=500))
    assert set(means.tolist()) == {0.0, 0.25, 1.0}
    assert np.mean(means == 0.25) == pytest.approx(0.5, abs=0.08)


def test_quantities_of_one_group_see_the_same_draws() -> None:
    first, _ = two_runs()
    same = resampled_means([first, first], DRAWS)
    assert (same[0] == same[1]).all()


def test_the_seed_and_the_stream_decide_the_draws() -> None:
    first, _ = two_runs()

    def means(seed: int, stream: int) -> list[float]:
        found = resampled_means([first], Bootstrap(draws=20, seed=seed), stream)
        values: list[float] = found[0].tolist()
        return values

    assert means(1, 0) == means(1, 0)
    assert means(1, 0) != means(2, 0)
    assert means(1, 0) != means(1, 1)


def test_batches_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = two_runs()
    whole = resampled_means([first], Bootstrap(draws=300))
    monkeypatch.setattr("migbench.scoring.bootstrap.BATCH", 200 * 7)
    assert (resampled_means([first], Bootstrap(draws=300)) == whole).all()


def test_what_never_varies_has_no_bootstrap_interval() -> None:
    nothing = sums(np.zeros(len(SHAPE)), SHAPE)
    (means,) = resampled_means([nothing], Bootstrap(draws=50))
    assert bootstrap_interval(means) is None
