"""Two scored runs side by side, target by target: accuracies, their difference, wins and losses.

Model, evaluator and strategy may differ; the targets are the same ones. Wins are targets that the
second run hits and the first does not, so a task's difference is ``wins - losses`` of its targets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from migbench.data.instances import Instance
from migbench.runs.settings import AnnotationSource
from migbench.scoring.bootstrap import Bootstrap, resample
from migbench.scoring.joining import Hit, PairedOutcome, RunToCompare, join
from migbench.scoring.metrics import HIT
from migbench.scoring.paired import PERMUTATIONS, difference_test, holm, macro_difference_test
from migbench.scoring.uncertainty import Interval, Sums


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The same ``n`` targets in both runs: which of them each run hits at IoU 0.5.

    By another metric, a hit is a target that it counts as right. ``unanswered`` are targets that a
    model error left without an answer in either run, unless that run counts errors as misses; the
    five counts add up to ``n``. ``first`` and ``second`` are the runs' figures on these targets in
    percent, ``difference`` is second minus first in points. A figure is None where its run has
    unanswered targets, the difference where one of them is None.

    The targets are of so many image ``clusters``. Where there is a difference, it has an
    ``interval``, the ``p`` of a sign-flip permutation test over clusters, ``p_holm`` that corrects
    it for the number of tasks, and ``mde``, the minimum detectable effect: the smallest true
    difference, in points, that this data would have shown with 80 % power. Interval and effect are
    None for one cluster.
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
    mde: float | None = None


class MacroPaired(Paired, frozen=True, kw_only=True):
    """The sums of the counts, and the unweighted means of the accuracies over ``tasks`` tasks.

    Its ``p`` is one test, which needs no correction.
    """

    tasks: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The second run against the first, on the targets that both were asked for.

    ``only_first`` and ``only_second`` count the targets that are left out because the other run was
    not asked for them. ``seed`` is that of the macro average's random ``permutations``;
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
    permutations: int = PERMUTATIONS
    bootstrap: Bootstrap | None = None
    metric: str = HIT
    """By which the runs are compared; of a partial one, on targets that count in both."""


def compare(
    first: RunToCompare,
    second: RunToCompare,
    *,
    bootstrap: Bootstrap | None = None,
    seed: int = 0,
    metric: str = HIT,
) -> Comparison:
    """Set the second run against the first.

    Intervals come from formulas, or with a ``bootstrap`` from resampled clusters; the macro
    average's test draws its permutations by ``seed``.

    Raises `UsageError` where they are on different annotations or scored under different
    protocols, or have no target in common.
    """
    order = {task: place for place, task in enumerate(first.scores.tasks)}
    groups, alone = join(first, second, lambda each: each.task, metric)
    groups = dict(sorted(groups.items(), key=lambda each: order[each[0]]))
    tasks, differences = _differences(groups, bootstrap)
    return Comparison(
        first=first.label,
        second=second.label,
        protocol=first.scores.protocol,
        annotations=first.scores.annotations,
        tasks=tasks,
        macro=_macro(tasks, [*differences.values()], seed),
        only_first=alone[0],
        only_second=alone[1],
        seed=seed,
        bootstrap=bootstrap,
        metric=metric,
    )


def compare_groups(
    first: RunToCompare,
    second: RunToCompare,
    group_of: Callable[[Instance], str],
    bootstrap: Bootstrap | None = None,
) -> dict[str, Paired]:
    """The same for groups of targets other than tasks, all targets of a group counted alike.

    Holm's correction is for the number of groups. Raises `UsageError` as `compare` does.
    """
    groups, _ = join(first, second, group_of)
    return _differences(dict(sorted(groups.items())), bootstrap)[0]


def _differences(
    groups: Mapping[str, Sequence[PairedOutcome]], bootstrap: Bootstrap | None
) -> tuple[dict[str, Paired], dict[str, Sums]]:
    """What the groups come to, with the tests of it, and their paired differences."""
    counts = {name: _count(group) for name, group in groups.items()}
    differences: dict[str, Sums] = {}
    for stream, (name, pairs) in enumerate(groups.items()):
        if counts[name].difference is not None:
            values = [bool(pair.second) - bool(pair.first) for pair in pairs]
            sums = Sums.of(values, [pair.cluster for pair in pairs])
            (differences[name],) = resample([sums], bootstrap, stream)
    return counts | _with_tests(counts, differences), differences


def _count(pairs: Sequence[PairedOutcome]) -> Paired:
    """One task's pairs as figures."""
    n = len(pairs)
    counts = Counter((pair.first, pair.second) for pair in pairs)
    both, wins, losses, neither = (
        counts[hits] for hits in ((True, True), (False, True), (True, False), (False, False))
    )
    unanswered = n - both - wins - losses - neither
    return Paired(
        n=n,
        both=both,
        wins=wins,
        losses=losses,
        neither=neither,
        unanswered=unanswered,
        first=_accuracy([pair.first for pair in pairs]),
        second=_accuracy([pair.second for pair in pairs]),
        difference=None if unanswered else 100 * (wins - losses) / n,
        clusters=len({pair.cluster for pair in pairs}),
    )


def _accuracy(hits: Sequence[Hit]) -> float | None:
    return None if None in hits else 100 * hits.count(True) / len(hits)


def _with_tests(tasks: Mapping[str, Paired], differences: Mapping[str, Sums]) -> dict[str, Paired]:
    """The tasks that have a difference, with what the data says of it."""
    found = {task: difference_test(each) for task, each in differences.items()}
    corrected = holm({task: test.p for task, test in found.items()})
    return {
        task: replace(
            tasks[task],
            interval=test.interval,
            p=test.p,
            p_holm=corrected[task],
            mde=test.mde,
        )
        for task, test in found.items()
    }


def _macro(tasks: Mapping[str, Paired], differences: Sequence[Sums], seed: int) -> MacroPaired:
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
    test = macro_difference_test(differences, seed)
    return replace(macro, interval=test.interval, p=test.p, mde=test.mde)


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean; None as soon as one value is."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if len(known) == len(found) else None
