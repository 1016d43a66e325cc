"""Two scored runs, joined target by target: what each makes of those that both were asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from migbench.data.instances import Instance
from migbench.errors import UsageError
from migbench.scoring.grouping import ClusterOf
from migbench.scoring.metrics import HIT, METRICS
from migbench.scoring.outcomes import Outcome
from migbench.scoring.scorer import SampleScore
from migbench.scoring.summary import Scores


@dataclass(frozen=True)
class RunToCompare:
    """One scored run in a comparison; ``label`` names it in messages and results."""

    label: str
    scores: Scores
    samples: Sequence[SampleScore]
    cluster_of: ClusterOf


Hit = bool | None
"""Whether a run hits a target, or is right by another metric; None where it has no answer."""


class PairedOutcome(NamedTuple):
    """One target in both runs, and the number of its image cluster."""

    first: Hit
    second: Hit
    cluster: int


def join(
    first: RunToCompare,
    second: RunToCompare,
    group_of: Callable[[Instance], str],
    metric: str = HIT,
) -> tuple[dict[str, list[PairedOutcome]], tuple[int, int]]:
    """The targets of both runs by group, and how many each run alone was asked for.

    Of a partial metric only targets that count for it in both runs are joined, and groups without
    any are left out. Raises `UsageError` where the runs are on different annotations or scored
    under different protocols, or have no target in common.
    """
    _refuse_what_differs(first, second)
    ours, theirs = _hits(first, metric), _hits(second, metric)
    groups: dict[str, list[PairedOutcome]] = {}
    for instance in (each.instance for each in first.samples):
        place = instance.index
        if place in ours and place in theirs:
            pair = PairedOutcome(ours[place], theirs[place], first.cluster_of(instance))
            groups.setdefault(group_of(instance), []).append(pair)
    if METRICS[metric].partial:
        groups = {
            name: pairs
            for name, pairs in groups.items()
            if any(None not in (pair.first, pair.second) for pair in pairs)
        }
    if not groups:
        counting = f" that counts for {metric}" if METRICS[metric].partial else ""
        raise UsageError(f"{first.label} and {second.label} have no target in common{counting}")
    return groups, _asked_alone(first, second)


def _hits(run: RunToCompare, metric: str) -> dict[int, Hit]:
    """Whether the run hits each target that counts, by the target's place in the file."""
    found: dict[int, Hit] = {}
    for each in run.samples:
        place = each.instance.index
        if each.outcome is Outcome.MODEL_ERROR and not run.scores.accepted_model_errors:
            found[place] = None
        elif (value := METRICS[metric].value(each)) is not None:
            found[place] = bool(value)
    return found


def _asked_alone(first: RunToCompare, second: RunToCompare) -> tuple[int, int]:
    one, other = ({each.instance.index for each in run.samples} for run in (first, second))
    return len(one - other), len(other - one)


def _refuse_what_differs(first: RunToCompare, second: RunToCompare) -> None:
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
                "only results on the same targets, scored alike, can be compared"
            )
