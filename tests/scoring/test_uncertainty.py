"""Standard errors and intervals: the reference's to 1e-9, and true as often as they say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student
from statsmodels.stats.proportion import proportion_confint
from support.clustered import SHAPES, simulate, sums

from migbench.scoring.uncertainty import (
    Interval,
    Sums,
    accuracy_interval,
    correlate,
    mean_interval,
    root_sum_of_squares,
    t_quantile,
)

targets = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=80)


def interval_of(hits: Sequence[bool], clusters: Sequence[int]) -> Interval:
    interval = accuracy_interval(Sums.of(hits, clusters))
    assert interval is not None
    return interval


# --- against the reference ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_errors_and_intervals_are_those_of_cluster_robust_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 60 + 40 * seed, 400)
    hits = rng.random(400) < rng.beta(2, 2, 400)[clusters]
    reference = sm.OLS(hits.astype(float), np.ones(400)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    interval = interval_of(hits.tolist(), clusters.tolist())
    assert interval.method == "t"
    assert interval.error == pytest.approx(100 * reference.bse[0], abs=1e-9)
    low, high = reference.conf_int()[0]
    assert (interval.low, interval.high) == pytest.approx((100 * low, 100 * high), abs=1e-9)


def test_targets_of_their_own_have_the_textbook_error() -> None:
    hits = [True] * 40 + [False] * 60
    assert interval_of(hits, range(100)).error == pytest.approx(
        100 * np.std(hits, ddof=1) / math.sqrt(100), abs=1e-9
    )


def test_wilsons_limits_are_the_references_with_the_effective_number() -> None:
    """No hit in 40 targets of their own; the reference takes z where t with 39 belongs."""
    quantile = t_quantile(0.975, 39)
    alpha = 2 * (1 - float(sm.stats.stattools.stats.norm.cdf(quantile)))
    low, high = proportion_confint(0, 40, alpha, "wilson")
    interval = interval_of([False] * 40, range(40))
    assert interval.method == "wilson"
    assert (interval.low, interval.high) == pytest.approx((100 * low, 100 * high), abs=1e-9)


@given(st.floats(0.01, 0.99), st.integers(1, 5000))
def test_quantiles_are_students(probability: float, freedom: int) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(
        float(student.ppf(probability, freedom)), rel=1e-9, abs=1e-9
    )


# --- which interval -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "clusters", "method"),
    [
        pytest.param([True, False] * 50, range(100), "t", id="plain"),
        pytest.param([True] * 100, range(100), "wilson", id="all hit"),
        pytest.param([False] * 100, range(100), "wilson", id="none hit"),
        pytest.param([True] * 3 + [False] * 97, range(100), "wilson", id="few hits"),
        pytest.param([False] * 3 + [True] * 97, range(100), "wilson", id="few misses"),
        pytest.param([True, False] * 14, range(28), "wilson", id="few clusters"),
        pytest.param([True, False] * 50, [i // 2 for i in range(100)], "wilson", id="all alike"),
    ],
)
def test_wilson_stands_in_where_the_error_cannot_be_trusted(
    hits: list[bool], clusters: Sequence[int], method: str
) -> None:
    interval = interval_of(hits, clusters)
    assert interval.method == method
    assert interval.low < interval.high


def test_without_a_hit_clusters_count_not_targets() -> None:
    alone = interval_of([False] * 200, range(200))
    in_fives = interval_of([False] * 200, [number // 5 for number in range(200)])
    assert alone.high < in_fives.high
    assert in_fives.high == pytest.approx(interval_of([False] * 40, range(40)).high)


def test_one_cluster_has_no_interval() -> None:
    assert accuracy_interval(Sums.of([True, False, True], [4, 4, 4])) is None


# --- laws -----------------------------------------------------------------------------------------


@given(targets)
def test_an_interval_holds_its_accuracy_and_stays_within_0_and_100(
    drawn: list[tuple[bool, int]],
) -> None:
    hits = Sums.of(*zip(*drawn, strict=True))
    assume(hits.freedom)
    interval = accuracy_interval(hits)
    assert interval is not None
    assert 0 <= interval.low <= 100 * hits.mean + 1e-9
    assert 100 * hits.mean - 1e-9 <= interval.high <= 100
    assert interval.low < interval.high


@given(targets)
def test_misses_mirror_hits(drawn: list[tuple[bool, int]]) -> None:
    results, clusters = zip(*drawn, strict=True)
    assume(len(set(clusters)) > 1)
    hit = interval_of(results, clusters)
    missed = interval_of([not each for each in results], clusters)
    assert (100 - hit.high, 100 - hit.low) == pytest.approx((missed.low, missed.high), abs=1e-9)
    assert hit.error == pytest.approx(missed.error, abs=1e-9)


@given(targets, st.randoms(use_true_random=False))
def test_order_and_cluster_numbers_do_not_matter(
    drawn: list[tuple[bool, int]], random: object
) -> None:
    assume(len({cluster for _, cluster in drawn}) > 1)
    renamed = [(hit, 1000 - 7 * cluster) for hit, cluster in drawn]
    random.shuffle(renamed)  # type: ignore[attr-defined]
    one = interval_of(*zip(*drawn, strict=True))
    other = interval_of(*zip(*renamed, strict=True))
    assert (one.error, one.low, one.high) == pytest.approx(
        (other.error, other.low, other.high), abs=1e-9
    )


def test_asking_every_target_twice_changes_nothing() -> None:
    """The whole point: more targets of the same clusters are not more evidence."""
    rng = np.random.default_rng(3)
    hits = (rng.random(120) < 0.6).tolist()
    once = interval_of(hits, range(120))
    twice = interval_of(hits * 2, [*range(120), *range(120)])
    assert (once.error, once.low, once.high) == pytest.approx((twice.error, twice.low, twice.high))


# --- averages -------------------------------------------------------------------------------------


def test_an_averages_error_comes_from_the_tasks_errors() -> None:
    tasks = [
        Interval(error=3, low=40, high=52, method="t"),
        Interval(error=4, low=0, high=12, method="wilson"),
    ]
    whole = mean_interval([46, 4], tasks)
    assert whole is not None
    assert whole.error == pytest.approx(2.5)
    assert whole.low == pytest.approx(25 - math.hypot(6, 4) / 2)
    assert whole.high == pytest.approx(25 + math.hypot(6, 8) / 2)


def test_an_average_with_a_task_without_interval_has_none() -> None:
    assert mean_interval([], []) is None
    assert mean_interval([50.0, 50.0], [Interval(error=1, low=1, high=2, method="t"), None]) is None


def test_tasks_that_share_clusters_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(200) < 0.5
    one, same = Sums.of(hits, range(200)), Sums.of(hits, range(200))
    apart = Sums.of(hits, range(200, 400))
    assert correlate([one, apart]) is None
    shared = correlate([one, same])
    assert shared is not None
    assert shared == pytest.approx(np.ones((2, 2)))
    interval = interval_of(hits.tolist(), range(200))
    value = 100 * one.mean
    both = mean_interval([value, value], [interval] * 2, shared)
    assert both is not None
    assert (both.low, both.high) == pytest.approx((interval.low, interval.high))
    assert root_sum_of_squares([3, 4]) == 5
    assert root_sum_of_squares([3, 4], np.array([[1.0, -1], [-1, 1]])) == pytest.approx(1)


# --- true as often as they say --------------------------------------------------------------------

TIMES = 1500


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("accuracy", [0.3, 0.7])
@pytest.mark.parametrize("correlation", [0, 0.4])
def test_95_of_100_intervals_hold_the_true_accuracy(
    shape: str, accuracy: float, correlation: float
) -> None:
    rng = np.random.default_rng(20)
    found = [
        accuracy_interval(sums(hits, SHAPES[shape]))
        for hits in simulate(rng, SHAPES[shape], accuracy, correlation, TIMES)
    ]
    held = sum(each.low <= 100 * accuracy <= each.high for each in found if each)
    assert 0.93 <= held / TIMES <= 0.97


def test_intervals_that_ignore_clusters_are_too_short() -> None:
    """What the clusters are for: the same targets, taken as independent, fall far short."""
    shape, accuracy = SHAPES["sets of five"], 0.5
    rng = np.random.default_rng(21)
    held = 0
    for hits in simulate(rng, shape, accuracy, 0.4, 500):
        shares = hits.sum() / sum(shape)
        margin = 1.96 * math.sqrt(shares * (1 - shares) / sum(shape))
        held += abs(shares - accuracy) <= margin
    assert held / 500 < 0.85


@pytest.mark.parametrize("accuracy", [0.02, 0.05, 0.98])
@pytest.mark.parametrize("correlation", [0, 0.3])
def test_intervals_near_0_and_100_hold_the_truth_at_least_as_often(
    accuracy: float, correlation: float
) -> None:
    rng = np.random.default_rng(22)
    shape = SHAPES["mixed"]
    found = [
        accuracy_interval(sums(hits, shape))
        for hits in simulate(rng, shape, accuracy, correlation, TIMES)
    ]
    held = sum(each.low <= 100 * accuracy <= each.high for each in found if each)
    assert held / TIMES >= 0.93


def test_95_of_100_intervals_of_averages_hold_the_truth() -> None:
    rng = np.random.default_rng(23)
    accuracies = dict(zip(SHAPES, (0.1, 0.4, 0.6, 0.9), strict=True))
    tasks = [
        simulate(rng, SHAPES[name], accuracy, 0.3, TIMES) for name, accuracy in accuracies.items()
    ]
    held = 0
    for results in zip(*tasks, strict=True):
        hits = [sums(each, shape) for each, shape in zip(results, SHAPES.values(), strict=True)]
        whole = mean_interval(
            [100 * each.mean for each in hits], list(map(accuracy_interval, hits))
        )
        assert whole is not None
        held += whole.low <= 100 * sum(accuracies.values()) / 4 <= whole.high
    assert 0.93 <= held / TIMES <= 0.97
