"""Intervals for every accuracy of a scored run."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from migbench.data.annotations import Instance
from migbench.scoring.bootstrap import Bootstrap, bootstrap_interval, resampled_means
from migbench.scoring.difficulty import Level
from migbench.scoring.judging import Judgement
from migbench.scoring.metrics import HIT, SHARES
from migbench.scoring.summary import Figures, Intervals, Scores
from migbench.scoring.uncertainty import (
    Floats,
    Interval,
    Sums,
    accuracy_interval,
    correlate,
    mean_interval,
)

ClusterOf = Callable[[Instance], int]
"""The number of an instance's image cluster."""

Key = TypeVar("Key")
SomeFigures = TypeVar("SomeFigures", bound=Figures)


class Reached:
    """What the targets of one group are worth by every share, and their clusters.

    A byte a share, and eight, for every target.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self._values = {name: array("b") for name in SHARES}
        self._clusters = array("q")

    def add(self, judgement: Judgement, cluster: int) -> None:
        """One more target."""
        for name, metric in SHARES.items():
            value = metric.value(judgement)
            self._values[name].append(_NO_MATTER if value is None else int(value))
        self._clusters.append(cluster)

    def sums(self) -> dict[str, Sums]:
        """Sums by cluster for every share that any target counts for."""
        clusters = np.asarray(self._clusters)
        found = {}
        for name, values in self._values.items():
            worth = np.asarray(values)
            counts = worth != _NO_MATTER
            if counts.any():
                found[name] = Sums.of(worth[counts], clusters[counts])
        return found


_NO_MATTER = -1


@dataclass(frozen=True)
class Group:
    """One group's sums by every share, and their resampled means if wanted."""

    clusters: int
    sums: Mapping[str, Sums]
    resampled: Mapping[str, Floats]

    @classmethod
    def of(cls, reached: Reached, bootstrap: Bootstrap | None, stream: int) -> Group:
        """Sum, and resample; shares on the same clusters see the same draws."""
        sums = reached.sums()
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


def gathered(
    judgements: Iterable[Judgement],
    groups: dict[Key, Reached],
    cluster_of: ClusterOf,
    key_of: Callable[[Judgement], Key],
) -> Iterator[Judgement]:
    """The judgements, each target put into its group (the one ``key_of`` says) as it passes."""
    for judgement in judgements:
        group = groups.setdefault(key_of(judgement), Reached())
        group.add(judgement, cluster_of(judgement.instance))
        yield judgement


def with_intervals(
    scores: Scores,
    tasks: Mapping[str, Reached],
    levels: Mapping[Level, Reached],
    bootstrap: Bootstrap | None = None,
) -> Scores:
    """The scores with an interval for every accuracy, of tasks, macro average and levels.

    They come from formulas, or with a ``bootstrap`` from resampled clusters. ``levels`` is empty
    where the scores have none.
    """
    groups = _groups(tasks, bootstrap)
    macro = replace(
        scores.macro,
        clusters=sum(group.clusters for group in groups.values()),
        intervals=None if scores.macro.at_50 is None else macro_intervals([*groups.values()]),
    )
    difficulty = scores.difficulty
    if difficulty:
        by_level = _added(_groups(levels, bootstrap), difficulty.levels)
        difficulty = replace(difficulty, levels=by_level)
    return replace(
        scores,
        tasks=_added(groups, scores.tasks),
        macro=macro,
        difficulty=difficulty,
        bootstrap=bootstrap,
    )


def _groups(reached: Mapping[Key, Reached], bootstrap: Bootstrap | None) -> dict[Key, Group]:
    return {
        key: Group.of(group, bootstrap, stream)
        for stream, (key, group) in enumerate(reached.items())
    }


def _added(
    groups: Mapping[Key, Group], figures: Mapping[Key, SomeFigures]
) -> dict[Key, SomeFigures]:
    return {key: groups[key].add_to(one) if key in groups else one for key, one in figures.items()}
