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
from migbench.scoring.summary import Figures, Intervals, Scores
from migbench.scoring.uncertainty import (
    Floats,
    Interval,
    Sums,
    accuracy_interval,
    correlate,
    mean_interval,
)

THRESHOLDS = (0.3, 0.5, 0.7)
"""Those of `Figures`, in the order of `Intervals`."""

ClusterOf = Callable[[Instance], int]
"""The number of an instance's image cluster."""

Key = TypeVar("Key")
SomeFigures = TypeVar("SomeFigures", bound=Figures)


class Reached:
    """Which thresholds the targets of one group reach, and their clusters: nine bytes a target."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._thresholds = array("b")
        self._clusters = array("q")

    def add(self, overlap: float, cluster: int) -> None:
        """One more target."""
        self._thresholds.append(sum(overlap >= threshold for threshold in THRESHOLDS))
        self._clusters.append(cluster)

    def sums(self) -> list[Sums]:
        """Hits by cluster at each of the thresholds."""
        reached = np.asarray(self._thresholds)
        return [Sums.of(reached > place, self._clusters) for place in range(len(THRESHOLDS))]


@dataclass(frozen=True)
class Group:
    """Hits of one group of targets at every threshold, and their resampled shares if wanted."""

    hits: Sequence[Sums]
    resampled: Floats | None = None

    @classmethod
    def of(cls, reached: Reached, bootstrap: Bootstrap | None, stream: int) -> Group:
        """Sum, and resample."""
        hits = reached.sums()
        if bootstrap is None or not hits[0].freedom:
            return cls(hits)
        return cls(hits, resampled_means(hits, bootstrap, stream))

    def interval(self, place: int) -> Interval | None:
        """The interval at one threshold: the formula's too where resamples never differ."""
        found = None if self.resampled is None else bootstrap_interval(self.resampled[place])
        return found or accuracy_interval(self.hits[place])

    def add_to(self, figures: SomeFigures) -> SomeFigures:
        """The figures with their intervals, if they have accuracies."""
        intervals = None
        if figures.at_50 is not None:
            intervals = Intervals(*map(self.interval, range(len(THRESHOLDS))))
        return replace(figures, clusters=len(self.hits[0].clusters), intervals=intervals)


def macro_intervals(groups: Sequence[Group]) -> Intervals:
    """The intervals of the groups' unweighted means."""
    return Intervals(*(_macro_interval(groups, place) for place in range(len(THRESHOLDS))))


def _macro_interval(groups: Sequence[Group], place: int) -> Interval | None:
    hits = [group.hits[place] for group in groups]
    resampled = [group.resampled[place] for group in groups if group.resampled is not None]
    found = None
    if resampled and len(resampled) == len(groups):
        found = bootstrap_interval(np.mean(resampled, axis=0))
    return found or mean_interval(
        [100 * each.mean for each in hits], list(map(accuracy_interval, hits)), correlate(hits)
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
        group.add(judgement.iou, cluster_of(judgement.instance))
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
        clusters=sum(len(group.hits[0].clusters) for group in groups.values()),
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
