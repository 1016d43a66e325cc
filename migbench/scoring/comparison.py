"""Two judged runs side by side, target by target: accuracies, their difference, wins and losses.

Model, evaluator and strategy may differ; the targets are the same ones. Wins are targets that the
second run hits and the first does not, so a task's difference is ``wins - losses`` of its targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from migbench.errors import UsageError
from migbench.scoring.bootstrap import Bootstrap
from migbench.scoring.gains import Gains, macro_evidence
from migbench.scoring.intervals import ClusterOf
from migbench.scoring.judging import HIT_AT, Judgement
from migbench.scoring.outcomes import Outcome
from migbench.scoring.paired import FLIPS, holm
from migbench.scoring.summary import Scores
from migbench.scoring.uncertainty import Interval
from migbench.settings import AnnotationSource


@dataclass(frozen=True)
class Side:
    """One scored run in a comparison; ``label`` names it in messages and results."""

    label: str
    scores: Scores
    judgements: Sequence[Judgement]
    cluster_of: ClusterOf


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The same ``n`` targets in both runs: which of them each run hits at IoU 0.5.

    ``unanswered`` are targets that a model error left without an answer in either run, unless that
    run counts errors as misses; the five counts add up to ``n``. ``first`` and ``second`` are the
    runs' Acc@0.5 on these targets in percent, ``difference`` is second minus first in points. An
    accuracy is None where its run has unanswered targets, the difference where one of them is None.

    The targets are of so many image ``clusters``. Where there is a difference, it has an
    ``interval``, the ``p`` of a test that flips whole clusters, ``p_holm`` that corrects it for the
    number of tasks, and beside them ``smallest``, the smallest true difference, in points, that
    this data would have shown with 80 % power. Interval and smallest are None for one cluster.
    """

    n: int
    both: int
    wins: int
    losses: int
    neither: int
    unanswered: int
    first: float | None
    second: float | None
    difference: float | None
    clusters: int = 0
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    smallest: float | None = None


class MacroPaired(Paired, frozen=True, kw_only=True):
    """The sums of the counts, and the unweighted means of the accuracies over ``tasks`` tasks.

    Its ``p`` is one test, which needs no correction.
    """

    tasks: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The second run against the first, on the targets that both were asked for.

    ``only_first`` and ``only_second`` count the targets that are left out because the other run was
    not asked for them. ``seed`` is that of the macro average's ``flips`` of clusters;
    ``bootstrap`` says how clusters were resampled, where intervals do not come from formulas.
    """

    first: str
    second: str
    protocol: str
    annotations: AnnotationSource
    tasks: dict[str, Paired]
    macro: MacroPaired
    only_first: int
    only_second: int
    seed: int = 0
    flips: int = FLIPS
    bootstrap: Bootstrap | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One target in both runs: whether each hits it, None where it has no answer."""

    task: str
    cluster: int
    first: bool | None
    second: bool | None


def compare(
    first: Side, second: Side, *, bootstrap: Bootstrap | None = None, seed: int = 0
) -> Comparison:
    """Set the second run against the first.

    Intervals come from formulas, or with a ``bootstrap`` from resampled clusters; the macro
    average's test draws its flips by ``seed``.

    Raises `UsageError` where they are on different annotations or scored under different
    protocols, or have no target in common.
    """
    _refuse_what_differs(first, second)
    ours, theirs = _results(first), _results(second)
    pairs = [
        Pair(
            judgement.instance.task,
            first.cluster_of(judgement.instance),
            ours[target],
            theirs[target],
        )
        for judgement in first.judgements
        if (target := judgement.instance.id) in theirs
    ]
    if not pairs:
        raise UsageError(f"{first.label} and {second.label} have no target in common")
    groups = {
        task: group
        for task in first.scores.tasks
        if (group := [pair for pair in pairs if pair.task == task])
    }
    counts = {task: _count(group) for task, group in groups.items()}
    gains = {
        task: Gains.of(
            [bool(pair.second) - bool(pair.first) for pair in group],
            [pair.cluster for pair in group],
            bootstrap,
            stream,
        )
        for stream, (task, group) in enumerate(groups.items())
        if counts[task].difference is not None
    }
    tasks = counts | _with_evidence(counts, gains)
    return Comparison(
        first=first.label,
        second=second.label,
        protocol=first.scores.protocol,
        annotations=first.scores.annotations,
        tasks=tasks,
        macro=_macro(tasks, [*gains.values()], seed),
        only_first=len(ours) - len(pairs),
        only_second=len(theirs) - len(pairs),
        seed=seed,
        bootstrap=bootstrap,
    )


def _refuse_what_differs(first: Side, second: Side) -> None:
    ours, theirs = first.scores, second.scores
    files = [
        f"{scores.annotations.label}, {scores.annotations.sha256[:12]}, "
        f"scale {scores.annotations.scale:g}"
        for scores in (ours, theirs)
    ]
    for what, one, other in (
        ("on different annotations", *files),
        ("scored under different protocols", ours.protocol, theirs.protocol),
    ):
        if one != other:
            raise UsageError(
                f"{first.label} ({one}) and {second.label} ({other}) are {what}; "
                "only results on the same targets, judged alike, can be compared"
            )


def _results(side: Side) -> dict[str, bool | None]:
    """By instance id: whether the run hits it, None where it has no answer."""
    accepted = side.scores.accepted_model_errors
    return {
        judgement.instance.id: (
            None
            if judgement.outcome is Outcome.MODEL_ERROR and not accepted
            else judgement.iou >= HIT_AT
        )
        for judgement in side.judgements
    }


def _count(pairs: Sequence[Pair]) -> Paired:
    """One task's pairs, counted."""
    answered = [pair for pair in pairs if None not in (pair.first, pair.second)]
    wins = sum(pair.second is True and not pair.first for pair in answered)
    losses = sum(pair.first is True and not pair.second for pair in answered)
    complete = len(answered) == len(pairs)
    return Paired(
        n=len(pairs),
        both=sum(pair.first is True and pair.second is True for pair in answered),
        wins=wins,
        losses=losses,
        neither=sum(pair.first is False and pair.second is False for pair in answered),
        unanswered=len(pairs) - len(answered),
        first=_accuracy([pair.first for pair in pairs]),
        second=_accuracy([pair.second for pair in pairs]),
        difference=100 * (wins - losses) / len(pairs) if complete else None,
        clusters=len({pair.cluster for pair in pairs}),
    )


def _with_evidence(tasks: Mapping[str, Paired], gains: Mapping[str, Gains]) -> dict[str, Paired]:
    """The tasks that have a difference, with what the data says of it."""
    found = {task: each.evidence() for task, each in gains.items()}
    corrected = holm({task: evidence.p for task, evidence in found.items()})
    return {
        task: replace(
            tasks[task],
            interval=evidence.interval,
            p=evidence.p,
            p_holm=corrected[task],
            smallest=evidence.smallest,
        )
        for task, evidence in found.items()
    }


def _macro(tasks: Mapping[str, Paired], gains: Sequence[Gains], seed: int) -> MacroPaired:
    counted = list(tasks.values())
    macro = MacroPaired(
        n=sum(task.n for task in counted),
        both=sum(task.both for task in counted),
        wins=sum(task.wins for task in counted),
        losses=sum(task.losses for task in counted),
        neither=sum(task.neither for task in counted),
        unanswered=sum(task.unanswered for task in counted),
        first=_mean(task.first for task in counted),
        second=_mean(task.second for task in counted),
        difference=_mean(task.difference for task in counted),
        tasks=len(counted),
        clusters=sum(task.clusters for task in counted),
    )
    if macro.difference is None:
        return macro
    evidence = macro_evidence(gains, seed)
    return replace(macro, interval=evidence.interval, p=evidence.p, smallest=evidence.smallest)


def _accuracy(hits: Sequence[bool | None]) -> float | None:
    known = [hit for hit in hits if hit is not None]
    return 100 * sum(known) / len(known) if len(known) == len(hits) else None


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean; None as soon as one value is."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if len(known) == len(found) else None
