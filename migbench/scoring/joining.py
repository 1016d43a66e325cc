"""Two judged runs, joined target by target: what each makes of those that both were asked for.

Runs are read once, side by side, in the annotation file's order; a target's results are kept as
nine bytes, not as judgements.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from migbench.data.instances import Instance
from migbench.errors import UsageError
from migbench.scoring.intervals import ClusterOf
from migbench.scoring.judging import HIT_AT, Judgement
from migbench.scoring.outcomes import Outcome
from migbench.scoring.summary import Scores


@dataclass(frozen=True)
class Side:
    """One scored run in a comparison; ``label`` names it in messages and results.

    Judgements are in the annotation file's order.
    """

    label: str
    scores: Scores
    judgements: Iterable[Judgement]
    cluster_of: ClusterOf


Hit = bool | None
"""Whether a run hits a target; None where it has no answer."""


class Pairs:
    """A task's targets in both runs: by what becomes of them, and what is gained in each cluster.

    Nine bytes a target.
    """

    def __init__(self) -> None:
        """None yet."""
        self.counts: Counter[tuple[Hit, Hit]] = Counter()
        self.gains = array("b")
        self.clusters = array("q")

    def add(self, first: Hit, second: Hit, cluster: int) -> None:
        """One more target, which each run hits or not."""
        self.counts[first, second] += 1
        self.gains.append(bool(second) - bool(first))
        self.clusters.append(cluster)


def join(
    first: Side, second: Side, group_of: Callable[[Instance], str]
) -> tuple[dict[str, Pairs], Counter[int]]:
    """The targets of both runs by group, and how many each side (0, 1) alone was asked for.

    Raises `UsageError` where the runs are on different annotations or scored under different
    protocols, or have no target in common.
    """
    _refuse_what_differs(first, second)
    pairs: defaultdict[str, Pairs] = defaultdict(Pairs)
    alone: Counter[int] = Counter()
    results = heapq.merge(
        _results(first, 0, group_of), _results(second, 1, group_of), key=lambda each: each.place
    )
    for _, same_target in groupby(results, key=lambda each: each.place):
        found = list(same_target)
        if len(found) == 1:
            alone[found[0].side] += 1
        else:
            ours, theirs = found
            pairs[ours.group].add(ours.hit, theirs.hit, ours.cluster)
    if not pairs:
        raise UsageError(f"{first.label} and {second.label} have no target in common")
    return pairs, alone


def _refuse_what_differs(first: Side, second: Side) -> None:
    ours, theirs = first.scores, second.scores
    sources = ours.annotations, theirs.annotations
    for alike, what, one, other in (
        (
            ours.annotations.is_same(theirs.annotations),
            "on different annotations",
            *(source.description for source in sources),
        ),
        (
            ours.protocol == theirs.protocol,
            "scored under different protocols",
            ours.protocol,
            theirs.protocol,
        ),
    ):
        if not alike:
            raise UsageError(
                f"{first.label} ({one}) and {second.label} ({other}) are {what}; "
                "only results on the same targets, judged alike, can be compared"
            )


class _Result(NamedTuple):
    """What becomes of a target, by its place in the annotation file, in the run of one side."""

    place: int
    group: str
    side: int
    hit: Hit
    cluster: int


def _results(run: Side, side: int, group_of: Callable[[Instance], str]) -> Iterator[_Result]:
    accepted = run.scores.accepted_model_errors
    for judgement in run.judgements:
        unanswered = judgement.outcome is Outcome.MODEL_ERROR and not accepted
        hit = None if unanswered else judgement.iou >= HIT_AT
        instance = judgement.instance
        yield _Result(instance.index, group_of(instance), side, hit, run.cluster_of(instance))
