"""Intervals for every accuracy of a scored run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from migbench.scoring.bootstrap import Bootstrap, bootstrap_interval, resampled_means
from migbench.scoring.difficulty import DifficultySplit
from migbench.scoring.grouping import ClusterOf, group_by
from migbench.scoring.metrics import HIT, SHARES
from migbench.scoring.scorer import SampleScore
from migbench.scoring.summary import Figures, Intervals, Scores
from migbench.scoring.uncertainty import (
    Floats,
    Interval,
    Sums,
    accuracy_interval,
    correlate,
    mean_interval,
)

Key = TypeVar("Key", bound=Hashable)
SomeFigures = TypeVar("SomeFigures", bound=Figures)


@dataclass(frozen=True)
class Group:
    """One group's sums by every share, and their resampled means if wanted."""

    clusters: int
    sums: Mapping[str, Sums]
    resampled: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        samples: Sequence[SampleScore],
        cluster_of: ClusterOf,
        bootstrap: Bootstrap | None,
        stream: int,
    ) -> Group:
        """Sum, and resample; shares on the same clusters see the same draws."""
        sums = _sums(samples, cluster_of)
        resampled: dict[str, Floats] = {}
        if bootstrap is not None:
            alike: dict[bytes, list[str]] = {}
            for name, each in sums.items():
                if each.freedom:
                    key = each.clusters.tobytes() + each.sizes.tobytes()
                    alike.setdefault(key, []).append(name)
            for names in alike.values():
                means = resampled_means([sums[name] for name in names], bootstrap, stream)
                resampled |= dict(zip(names, means, strict=True))
        return cls(len(sums[HIT].clusters), sums, resampled)

    def interval(self, name: str) -> Interval | None:
        """The interval by one share: the formula's too where resamples never differ."""
        found = bootstrap_interval(self.resampled[name]) if name in self.resampled else None
        return found or accuracy_interval(self.sums[name])

    def add_to(self, figures: SomeFigures) -> SomeFigures:
        """The figures with their intervals, if they have accuracies."""
        intervals = None
        if figures.at_50 is not None:
            intervals = {name: self.interval(name) for name in self.sums}
        return replace(figures, clusters=self.clusters, intervals=intervals)


def macro_intervals(groups: Sequence[Group]) -> Intervals:
    """The intervals of the unweighted means of the groups that have a share."""
    having = {name: [group for group in groups if name in group.sums] for name in SHARES}
    return {name: _macro_interval(name, some) for name, some in having.items() if some}


def _macro_interval(name: str, groups: Sequence[Group]) -> Interval | None:
    sums = [group.sums[name] for group in groups]
    resampled = [group.resampled[name] for group in groups if name in group.resampled]
    found = None
    if resampled and len(resampled) == len(groups):
        found = bootstrap_interval(np.mean(resampled, axis=0))
    return found or mean_interval(
        [100 * each.mean for each in sums], list(map(accuracy_interval, sums)), correlate(sums)
    )


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
        return {
            key: Group.of(group, cluster_of, bootstrap, stream)
            for stream, (key, group) in enumerate(group_by(samples, key_of).items())
        }

    tasks = groups_by(lambda each: each.instance.task)
    macro = replace(
        scores.macro,
        clusters=sum(group.clusters for group in tasks.values()),
        intervals=None if scores.macro.at_50 is None else macro_intervals([*tasks.values()]),
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


def _sums(samples: Sequence[SampleScore], cluster_of: ClusterOf) -> dict[str, Sums]:
    """Sums by cluster for every share that any of the targets counts for."""
    clusters = np.array([cluster_of(each.instance) for each in samples])
    found: dict[str, Sums] = {}
    for name, metric in SHARES.items():
        values = np.array([metric.value(each) for each in samples], dtype=float)
        counts = ~np.isnan(values)  # What a target does not count for is None, and NaN in arrays.
        if counts.any():
            found[name] = Sums.of(values[counts], clusters[counts])
    return found


def _added(
    groups: Mapping[Key, Group], figures: Mapping[Key, SomeFigures]
) -> dict[Key, SomeFigures]:
    return {key: groups[key].add_to(one) if key in groups else one for key, one in figures.items()}
