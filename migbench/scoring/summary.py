"""From judged targets to scores: per task and macro average, in the JSON that migbench writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from migbench.scoring.bootstrap import Bootstrap
from migbench.scoring.difficulty import DifficultySplit, Level
from migbench.scoring.judging import Judgement
from migbench.scoring.outcomes import Flag, Outcome
from migbench.scoring.uncertainty import Interval
from migbench.settings import AnnotationSource

THRESHOLDS = (0.3, 0.5, 0.7)
"""The IoUs at which a target counts as hit, for one accuracy each."""


class Intervals(msgspec.Struct, frozen=True):
    """An interval for each of three accuracies; None where all targets are of one cluster."""

    at_30: Interval | None = msgspec.field(name="acc@0.3")
    at_50: Interval | None = msgspec.field(name="acc@0.5")
    at_70: Interval | None = msgspec.field(name="acc@0.7")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracies in percent at three IoU thresholds, the mean IoU as a fraction, and outcomes.

    The accuracies are None where the group is incomplete (a model error has not been asked again,
    nor accepted) or empty. ``n`` is the number of targets, ``outcomes`` counts them by what became
    of them. ``clusters`` is the number of image clusters, over which the accuracies' ``intervals``
    are computed (`migbench.scoring.intervals`).
    """

    at_30: float | None = msgspec.field(name="acc@0.3")
    at_50: float | None = msgspec.field(name="acc@0.5")
    at_70: float | None = msgspec.field(name="acc@0.7")
    mean_iou: float | None
    n: int
    outcomes: dict[Outcome, int]
    clusters: int | None = None
    intervals: Intervals | None = None


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


class MacroScores(Figures, frozen=True, kw_only=True):
    """The unweighted mean over ``tasks`` tasks (AVE in Table 1), with the outcomes' sums."""

    tasks: int


class DifficultyScores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by level (Table 7): which split (`DifficultySplit.hash`), its rule and its counts."""

    split: str
    rule: str
    counts: dict[Level, int]
    levels: dict[Level, Figures]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a scored run says of itself."""

    run: str
    """The run's hash (`migbench.provenance.identity`)."""
    model: str
    protocol: str
    corrections: str
    annotations: AnnotationSource
    evaluator: str
    strategy: str
    prompts: str
    accepted_model_errors: bool
    tasks: dict[str, TaskScores]
    macro: MacroScores
    difficulty: DifficultyScores | None = None
    bootstrap: Bootstrap | None = None
    """How clusters were resampled, where the intervals do not come from formulas."""

    @property
    def model_errors(self) -> int:
        """Targets without an answer."""
        return self.macro.outcomes[Outcome.MODEL_ERROR]


def summarise_tasks(
    judgements: Iterable[Judgement], tasks: Sequence[str], *, accept_model_errors: bool = False
) -> dict[str, TaskScores]:
    """Scores by task, in the order of ``tasks``; those without targets are left out."""
    tallies = {task: _TaskTally() for task in tasks}
    for judgement in judgements:
        tallies[judgement.instance.task].add(judgement)
    return {task: tally.scores(accept_model_errors) for task, tally in tallies.items() if tally.n}


def summarise_levels(
    judgements: Iterable[Judgement], split: DifficultySplit, *, accept_model_errors: bool = False
) -> DifficultyScores:
    """Figures by level of a split that has every instance judged; all three levels are named."""
    tallies = {level: _Tally() for level in Level}
    for judgement in judgements:
        tallies[split.levels[judgement.instance.id]].add(judgement)
    return DifficultyScores(
        split=split.hash,
        rule=split.rule.name,
        counts=split.counts,
        levels={level: tally.figures(accept_model_errors) for level, tally in tallies.items()},
    )


def macro_average(tasks: Mapping[str, TaskScores]) -> MacroScores:
    """The unweighted mean of the tasks' figures; None as soon as one of them has none."""
    scores = list(tasks.values())
    return MacroScores(
        at_30=_mean([score.at_30 for score in scores]),
        at_50=_mean([score.at_50 for score in scores]),
        at_70=_mean([score.at_70 for score in scores]),
        mean_iou=_mean([score.mean_iou for score in scores]),
        tasks=len(scores),
        n=sum(score.n for score in scores),
        outcomes={one: sum(score.outcomes[one] for score in scores) for one in Outcome},
    )


@dataclass
class _Tally:
    """Judgements of a group, summed up one by one; their order decides on the IoUs' last digits."""

    n: int = 0
    overlaps: float = 0.0
    reached: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))

    def add(self, judgement: Judgement) -> None:
        """Count one target."""
        self.n += 1
        self.overlaps += judgement.iou
        self.outcomes[judgement.outcome] += 1
        for threshold in THRESHOLDS:
            self.reached[threshold] += judgement.iou >= threshold

    def figures(self, accept_model_errors: bool) -> Figures:
        """What the group comes to."""
        complete = self.n > 0 and (accept_model_errors or not self.outcomes[Outcome.MODEL_ERROR])
        at_30, at_50, at_70 = (
            100 * reached / self.n if complete else None for reached in self.reached.values()
        )
        return Figures(
            at_30=at_30,
            at_50=at_50,
            at_70=at_70,
            mean_iou=self.overlaps / self.n if complete else None,
            n=self.n,
            outcomes=self.outcomes,
        )


@dataclass
class _TaskTally(_Tally):
    """The same for a task, with what only tasks report."""

    flags: dict[Flag, int] = field(default_factory=lambda: dict.fromkeys(Flag, 0))
    repaired_truths: int = 0
    named: int = 0
    named_right: int = 0

    def add(self, judgement: Judgement) -> None:
        """Count one target."""
        super().add(judgement)
        instance, named_image = judgement.instance, judgement.prediction.named_image
        for flag in judgement.flags:
            self.flags[flag] += 1
        self.repaired_truths += judgement.truth != instance.box
        self.named += named_image is not None
        self.named_right += named_image == instance.target_image

    def scores(self, accept_model_errors: bool) -> TaskScores:
        """What the task comes to."""
        return TaskScores(
            **msgspec.structs.asdict(self.figures(accept_model_errors)),
            flags=self.flags,
            repaired_truths=self.repaired_truths,
            named_images=NamedImages(named=self.named, right=self.named_right),
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
