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
from migbench.scoring.judging import Judgement
from migbench.scoring.metrics import HIT, METRICS
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
"""Whether a run hits a target, or is right by another metric; None where it has no answer."""


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
    first: Side, second: Side, group_of: Callable[[Instance], str], metric: str = HIT
) -> tuple[dict[str, Pairs], Counter[int]]:
    """The targets of both runs by group, and how many each side (0, 1) alone was asked for.

    Of a partial metric only targets that count for it in both runs are joined, and groups without
    any are left out. Raises `UsageError` where the runs are on different annotations or scored
    under different protocols, or have no target in common.
    """
    _refuse_what_differs(first, second)
    pairs: defaultdict[str, Pairs] = defaultdict(Pairs)
    alone: Counter[int] = Counter()
    results = heapq.merge(
        _results(first, 0, group_of, metric),
        _results(second, 1, group_of, metric),
        key=lambda each: each.place,
    )
    for _, same_target in groupby(results, key=lambda each: each.place):
        found = list(same_target)
        if len(found) == 1:
            alone[found[0].side] += 1
        else:
            ours, theirs = found
            if ours.counts and theirs.counts:
                pairs[ours.group].add(ours.hit, theirs.hit, ours.cluster)
    groups = {
        name: group
        for name, group in pairs.items()
        if any(None not in hits for hits in group.counts) or not METRICS[metric].partial
    }
    if not groups:
        counting = f" that counts for {metric}" if METRICS[metric].partial else ""
        raise UsageError(f"{first.label} and {second.label} have no target in common{counting}")
    return groups, alone


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
    counts: bool
    cluster: int


def _results(
    run: Side, side: int, group_of: Callable[[Instance], str], metric: str
) -> Iterator[_Result]:
    accepted, value_of = run.scores.accepted_model_errors, METRICS[metric].value
    for judgement in run.judgements:
        unanswered = judgement.outcome is Outcome.MODEL_ERROR and not accepted
        value = None if unanswered else value_of(judgement)
        instance = judgement.instance
        yield _Result(
            place=instance.index,
            group=group_of(instance),
            side=side,
            hit=None if value is None else bool(value),
            counts=unanswered or value is not None,
            cluster=run.cluster_of(instance),
        )
