"""Two runs on the same targets: the interval, the test, and the difference worth looking for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from support.clustered import SHAPES, Shape, simulate, sums

from migbench.scoring.paired import (
    difference_interval,
    holm,
    macro_sign_flip_p,
    minimum_detectable_effect,
    sign_flip_p,
)
from migbench.scoring.uncertainty import Interval, Sums

TIMES = 1000


def interval_of(differences: Sums) -> Interval:
    interval = difference_interval(differences)
    assert interval is not None
    return interval


def simulate_pairs(
    rng: np.random.Generator, shape: Shape, first: float, second: float, times: int
) -> NDArray[np.float64]:
    """Differences by cluster of two runs that find the same clusters hard."""
    sizes = np.array(shape)
    ease = rng.beta(1, 1, (times, len(sizes)))
    # Clusters' own accuracies average the runs' accuracies.
    return (
        rng.binomial(sizes, ease ** (1 / second - 1)) - rng.binomial(sizes, ease ** (1 / first - 1))
    ).astype(float)


# --- against references ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_differences_are_those_of_cluster_robust_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 90, 400)
    differences = rng.integers(-1, 2, 400)
    reference = sm.OLS(differences.astype(float), np.ones(400)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    interval = interval_of(Sums.of(differences, clusters))
    low, high = reference.conf_int()[0]
    assert interval.method == "t"
    assert interval.error == pytest.approx(100 * reference.bse[0], abs=1e-9)
    assert (interval.low, interval.high) == pytest.approx((100 * low, 100 * high), abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40))
def test_on_targets_of_their_own_the_test_is_mcnemars_mid_p(wins: int, losses: int) -> None:
    number = wins + losses
    exact = mcnemar([[0, wins], [losses, 0]], exact=True).pvalue if number else 1.0
    expected = exact - binom.pmf(wins, number, 0.5) if wins != losses else 1.0
    differences = [1] * wins + [-1] * losses + [0] * 5
    assert sign_flip_p(Sums.of(differences, range(len(differences)))) == pytest.approx(
        expected, abs=2e-12
    )


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_p_is_the_share_of_flips_that_are_farther_and_half_of_those_as_far(
    totals: list[int],
) -> None:
    observed = abs(sum(totals))
    flipped = [
        abs(sum(sign * total for sign, total in zip(flip, totals, strict=True)))
        for flip in itertools.product((-1, 1), repeat=len(totals))
    ]
    share = np.mean([(one > observed) + (one == observed) / 2 for one in flipped])
    differences = sums(np.array(totals, dtype=float), (4,) * len(totals))
    assert sign_flip_p(differences) == pytest.approx(share if observed else 1.0, abs=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_holms_correction_is_the_references(seed: int) -> None:
    p_values = np.random.default_rng(seed).random(10) ** 3
    named = {f"task {place}": p for place, p in enumerate(p_values.tolist())}
    expected = multipletests(p_values, method="holm")[1]
    assert list(holm(named).values()) == pytest.approx(list(expected))
    assert list(holm(named)) == list(named)


def test_the_macro_test_of_one_task_is_that_tasks_but_for_chance() -> None:
    rng = np.random.default_rng(5)
    differences = sums(rng.integers(-2, 3, 60).astype(float), (2,) * 60)
    exact = sign_flip_p(differences)
    assert 0.02 < exact < 0.98
    assert macro_sign_flip_p([differences], seed=1) == pytest.approx(exact, abs=0.006)


def test_clusters_that_two_tasks_share_are_flipped_together() -> None:
    """The second task repeats the first: it adds no evidence."""
    differences = sums(np.array([1.0] * 7 + [-1.0]), (1,) * 8)
    apart = sums(differences.totals, (1,) * 8, first=100)
    exact = sign_flip_p(differences)
    assert macro_sign_flip_p([differences, differences], seed=2) == pytest.approx(exact, abs=0.005)
    assert macro_sign_flip_p([differences, apart], seed=2) < exact / 5


# --- seeds and corner cases -----------------------------------------------------------------------


def test_a_seed_decides_the_macro_tests_flips() -> None:
    differences = [sums(np.array([1.0, -1.0] * 20 + [1.0] * 8), (1,) * 48)]
    assert macro_sign_flip_p(differences, seed=3) == macro_sign_flip_p(differences, seed=3)
    assert macro_sign_flip_p(differences, seed=3) != macro_sign_flip_p(differences, seed=4)


def test_equal_runs_differ_by_nothing_but_not_for_certain() -> None:
    equal = sums(np.zeros(100), (1,) * 100)
    interval = interval_of(equal)
    assert interval.method == "adjusted"
    assert interval.low == -interval.high
    assert 2 < interval.high < 4  # The rule of three says 3 for 100 targets.
    assert sign_flip_p(equal) == 1
    assert macro_sign_flip_p([equal], seed=0) == 1


def test_no_interval_leaves_100_points() -> None:
    interval = interval_of(sums(np.ones(4), (1,) * 4))
    assert interval.high == 100
    assert interval.low > -100


def test_one_cluster_shows_no_difference() -> None:
    differences = Sums.of([1, 1, -1], [2, 2, 2])
    assert difference_interval(differences) is None
    assert minimum_detectable_effect(differences) is None


# --- true as often as they say --------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_95_of_100_intervals_hold_the_true_difference(shape: str) -> None:
    rng = np.random.default_rng(30)
    pairs = simulate_pairs(rng, SHAPES[shape], 0.4, 0.6, TIMES)
    intervals = [interval_of(sums(differences, SHAPES[shape])) for differences in pairs]
    held = sum(each.low <= 20 <= each.high for each in intervals)
    assert 0.93 <= held / TIMES <= 0.97


@pytest.mark.parametrize("shape", SHAPES)
def test_5_of_100_comparisons_of_equals_are_false_findings(shape: str) -> None:
    rng = np.random.default_rng(31)
    pairs = simulate_pairs(rng, SHAPES[shape], 0.5, 0.5, TIMES)
    found = sum(sign_flip_p(sums(differences, SHAPES[shape])) <= 0.05 for differences in pairs)
    assert 0.03 <= found / TIMES <= 0.07


def macro_differences(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Sums]:
    tasks, first = [], 0
    for shape in shapes:
        (differences,) = simulate_pairs(rng, shape, 0.5, 0.5, 1)
        tasks.append(sums(differences, shape, first))
        first += len(shape)
    return tasks


def test_5_of_100_macro_comparisons_of_equals_are_false_findings() -> None:
    rng = np.random.default_rng(32)
    found = [
        macro_sign_flip_p(macro_differences(rng, list(SHAPES.values())), seed, permutations=999)
        <= 0.05
        for seed in range(600)
    ]
    assert 0.03 <= np.mean(found) <= 0.07


def test_the_minimum_detectable_effect_is_found_four_times_in_five() -> None:
    """Of experiments with that true difference, 80 % have an interval that leaves out 0."""
    rng = np.random.default_rng(33)
    shape = SHAPES["sets of five"]
    named = [
        minimum_detectable_effect(sums(differences, shape))
        for differences in simulate_pairs(rng, shape, 0.5, 0.5, 50)
    ]
    difference = float(np.mean([each for each in named if each])) / 100
    pairs = simulate_pairs(rng, shape, 0.5 - difference / 2, 0.5 + difference / 2, TIMES)
    found = sum(interval_of(sums(differences, shape)).low > 0 for differences in pairs)
    assert 0.75 <= found / TIMES <= 0.85


def test_runs_of_one_accuracy_in_simulations_have_that_accuracy() -> None:
    """The simulations of this file are what they say."""
    rng = np.random.default_rng(34)
    hits = simulate(rng, SHAPES["mixed"], 0.3, 0.4, 200)
    assert hits.sum() / (200 * sum(SHAPES["mixed"])) == pytest.approx(0.3, abs=0.01)
    differences = simulate_pairs(rng, SHAPES["mixed"], 0.4, 0.6, 200)
    assert differences.sum() / (200 * sum(SHAPES["mixed"])) == pytest.approx(0.2, abs=0.01)
