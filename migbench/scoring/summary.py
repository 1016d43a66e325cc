"""From scored targets to scores: per task and macro average, in the JSON that migbench writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import msgspec

from migbench.dialects import Reason
from migbench.runs.settings import AnnotationSource
from migbench.scoring.bootstrap import Bootstrap
from migbench.scoring.difficulty import DifficultySplit, Level
from migbench.scoring.grouping import group_by
from migbench.scoring.metrics import FIELDS, HIT, METRICS, Metrics
from migbench.scoring.outcomes import Flag, Outcome
from migbench.scoring.scorer import SampleScore
from migbench.scoring.uncertainty import Interval

Intervals = dict[str, Interval | None]
"""By metric; None where all its targets are of one cluster."""


class Figures(Metrics, frozen=True, kw_only=True):
    """A group's metrics and outcomes.

    Shares are in percent; all are None where the group is incomplete (a model error has not been
    asked again, nor accepted) or empty. ``n`` is the number of targets that were asked for,
    ``available`` (``N`` in JSON) the number that the group has in the annotation file, ``counted``
    the number of targets that count for a partial metric. ``outcomes`` counts targets by what
    became of them.
    ``clusters`` is the number of image clusters, over which the shares' ``intervals`` are computed
    (`migbench.scoring.intervals`).
    """

    n: int
    available: int | None = msgspec.field(name="N", default=None)
    outcomes: dict[Outcome, int]
    counted: dict[str, int] = msgspec.field(default_factory=dict)
    clusters: int | None = None
    intervals: Intervals | None = None

    def figure(self, metric: str = HIT) -> float | None:
        """The figure by a metric of this name."""
        figure: float | None = getattr(self, FIELDS[metric])
        return figure

    def interval(self, metric: str = HIT) -> Interval | None:
        """That figure's interval, where it has one."""
        return (self.intervals or {}).get(metric)

    def counts_for(self, metric: str) -> bool:
        """Whether any target counts for the metric; all do, but for partial ones."""
        return not METRICS[metric].partial or self.counted.get(metric, 0) > 0


class NamedImages(msgspec.Struct, frozen=True, kw_only=True):
    """How often answers named an image, and how often the right one."""

    named: int
    right: int


class TaskScores(Figures, frozen=True, kw_only=True):
    """One task, with how many targets had each flag."""

    flags: dict[Flag, int]
    repaired_truths: int
    """Defective ground truths that the protocol repaired."""
    named_images: NamedImages
    unreadable: dict[Reason, int] = msgspec.field(default_factory=dict)
    """What the unreadable answers hold instead of a box, those that do not occur left out."""


class MacroScores(Figures, frozen=True, kw_only=True):
    """The unweighted mean over ``tasks`` tasks (AVE in Table 1), with the outcomes' sums."""

    tasks: int


class DifficultyScores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by level (Table 7): which split (`DifficultySplit.hash`), its rule and its counts."""

    split: str
    rule: str
    counts: dict[Level, int]
    levels: dict[Level, Figures]
    made_from: list[str] = []
    """The runs that the split was made from, each as model and strategy."""
    made_from_this: bool = False
    """Whether this run is one of them: its figures by level follow from the split then."""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a scored run says of itself."""

    run: str
    """The run's hash (`migbench.runs.run_hash`)."""
    model: str
    name: str | None = None
    """What the user calls the run in tables (``--name``)."""
    protocol: str
    corrections: str
    annotations: AnnotationSource
    evaluator: str
    strategy: str
    prompts: str
    accepted_model_errors: bool
    available: dict[str, int] = {}
    """Instances of the annotation file by task, those of tasks that were not asked too."""
    tasks: dict[str, TaskScores]
    macro: MacroScores
    difficulty: DifficultyScores | None = None
    bootstrap: Bootstrap | None = None
    """How clusters were resampled, where the intervals do not come from formulas."""
    history: list[str] = []
    """What has happened to the stored run and must be known with its figures."""

    @property
    def model_errors(self) -> int:
        """Targets without an answer."""
        return self.macro.outcomes[Outcome.MODEL_ERROR]


def summarise_tasks(
    samples: Iterable[SampleScore], tasks: Sequence[str], *, accept_model_errors: bool = False
) -> dict[str, TaskScores]:
    """Scores by task, in the order of ``tasks``; those without targets are left out."""
    by_task = group_by(samples, lambda each: each.instance.task)
    return {
        task: _task_scores(by_task[task], accept_model_errors) for task in tasks if task in by_task
    }


def summarise_levels(
    samples: Iterable[SampleScore], split: DifficultySplit, *, accept_model_errors: bool = False
) -> DifficultyScores:
    """Figures by level of a split that has every instance scored; all three levels are named."""
    by_level = group_by(samples, lambda each: split.levels[each.instance.id])
    return DifficultyScores(
        split=split.hash,
        rule=split.rule.name,
        counts=split.counts,
        levels={level: _figures(by_level.get(level, []), accept_model_errors) for level in Level},
        made_from=[f"{each.model} ({each.strategy})" for each in split.runs],
    )


def macro_average(tasks: Mapping[str, TaskScores]) -> MacroScores:
    """The unweighted mean of the tasks' figures; None as soon as one of them has none.

    By a partial metric it is the mean of those tasks that have targets which count.
    """
    scores = list(tasks.values())
    figures: dict[str, Any] = {
        FIELDS[name]: _mean([score.figure(name) for score in scores if score.counts_for(name)])
        for name in METRICS
    }
    partial = [name for name, metric in METRICS.items() if metric.partial]
    return MacroScores(
        **figures,
        tasks=len(scores),
        n=sum(score.n for score in scores),
        counted={name: sum(score.counted.get(name, 0) for score in scores) for name in partial},
        outcomes={one: sum(score.outcomes[one] for score in scores) for one in Outcome},
    )


def _figures(samples: Sequence[SampleScore], accept_model_errors: bool) -> Figures:
    """What a group of targets comes to."""
    outcomes = Counter(each.outcome for each in samples)
    complete = accept_model_errors or not outcomes[Outcome.MODEL_ERROR]
    figures: dict[str, Any] = {}
    counted: dict[str, int] = {}
    for name, metric in METRICS.items():
        values = [value for each in samples if (value := metric.value(each)) is not None]
        if metric.partial:
            counted[name] = len(values)
        if complete and values:
            # Not `sum`, whose last digits depend on the version of Python.
            total = reduce(add, values, 0.0)
            figures[FIELDS[name]] = (100 if metric.share else 1) * total / len(values)
    return Figures(
        **figures,
        n=len(samples),
        counted=counted,
        outcomes={one: outcomes[one] for one in Outcome},
    )


def _task_scores(samples: Sequence[SampleScore], accept_model_errors: bool) -> TaskScores:
    """The same of a task, with what only tasks report."""
    flags = Counter(flag for each in samples for flag in each.flags)
    reasons = (each.prediction.reason for each in samples)
    named = [each for each in samples if each.prediction.named_image is not None]
    return TaskScores(
        **msgspec.structs.asdict(_figures(samples, accept_model_errors)),
        flags={flag: flags[flag] for flag in Flag},
        repaired_truths=sum(each.truth != each.instance.box for each in samples),
        named_images=NamedImages(
            named=len(named),
            right=sum(each.prediction.named_image == each.instance.target_image for each in named),
        ),
        unreadable=dict(Counter(reason for reason in reasons if reason is not None)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
