"""Intervals for every accuracy of a scored run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from migbench.scoring.bootstrap import Bootstrap, interval_of, macro_interval, resample
from migbench.scoring.difficulty import DifficultySplit
from migbench.scoring.grouping import ClusterOf, group_by
from migbench.scoring.metrics import HIT, SHARES
from migbench.scoring.scorer import SampleScore
from migbench.scoring.summary import Figures, Intervals, Scores
from migbench.scoring.uncertainty import (
    Sums,
    accuracy_interval,
)

Key = TypeVar("Key", bound=Hashable)
SomeFigures = TypeVar("SomeFigures", bound=Figures)


Group = dict[str, Sums]
"""What a group of targets reaches by every share that any of them counts for, by cluster."""


def with_intervals(
    scores: Scores,
    samples: Sequence[SampleScore],
    cluster_of: ClusterOf,
    difficulty: DifficultySplit | None = None,
    bootstrap: Bootstrap | None = None,
) -> Scores:
    """The scores with an interval for every accuracy, of tasks, macro average and levels.

    They come from formulas, or with a ``bootstrap`` from resampled clusters. ``difficulty`` is the
    split of the scores' levels, if they have any.
    """

    def groups_by(key_of: Callable[[SampleScore], Key]) -> dict[Key, Group]:
        groups = group_by(samples, key_of)
        sums = {key: _sums(group, cluster_of) for key, group in groups.items()}
        return {
            key: dict(zip(group, resample([*group.values()], bootstrap, stream), strict=True))
            for stream, (key, group) in enumerate(sums.items())
        }

    tasks = groups_by(lambda each: each.instance.task)
    macro = replace(
        scores.macro,
        clusters=sum(len(group[HIT].clusters) for group in tasks.values()),
        intervals=None if scores.macro.at_50 is None else _macro_intervals([*tasks.values()]),
    )
    by_level = scores.difficulty
    if by_level and difficulty:
        levels = groups_by(lambda each: difficulty.levels[each.instance.id])
        by_level = replace(by_level, levels=_added(levels, by_level.levels))
    return replace(
        scores,
        tasks=_added(tasks, scores.tasks),
        macro=macro,
        difficulty=by_level,
        bootstrap=bootstrap,
    )


def _macro_intervals(groups: Sequence[Group]) -> Intervals:
    """The intervals of the unweighted means of the groups that have a share."""
    having = {name: [group[name] for group in groups if name in group] for name in SHARES}
    return {name: macro_interval(some, accuracy_interval) for name, some in having.items() if some}


def _sums(samples: Sequence[SampleScore], cluster_of: ClusterOf) -> Group:
    """Sums by cluster for every share that any of the targets counts for."""
    clusters = np.array([cluster_of(each.instance) for each in samples])
    found: Group = {}
    for name, metric in SHARES.items():
        values = np.array([metric.value(each) for each in samples], dtype=float)
        counts = ~np.isnan(values)  # What a target does not count for is None, and NaN in arrays.
        if counts.any():
            found[name] = Sums.of(values[counts], clusters[counts])
    return found


def _added(
    groups: Mapping[Key, Group], figures: Mapping[Key, SomeFigures]
) -> dict[Key, SomeFigures]:
    """The figures with their intervals, if they have accuracies."""
    return {
        key: _add(groups[key], figure) if key in groups else figure
        for key, figure in figures.items()
    }


def _add(group: Group, figures: SomeFigures) -> SomeFigures:
    intervals = None
    if figures.at_50 is not None:
        intervals = {name: interval_of(sums, accuracy_interval) for name, sums in group.items()}
    return replace(figures, clusters=len(group[HIT].clusters), intervals=intervals)
