"""From judged targets to scores: per task and macro average, in the JSON that migbench writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from migbench.scoring.bootstrap import Bootstrap
from migbench.scoring.difficulty import DifficultySplit, Level
from migbench.scoring.judging import Judgement
from migbench.scoring.outcomes import Flag, Outcome
from migbench.scoring.uncertainty import Interval
from migbench.settings import AnnotationSource


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
    groups: dict[str, list[Judgement]] = {task: [] for task in tasks}
    for judgement in judgements:
        groups[judgement.instance.task].append(judgement)
    return {
        task: _summarise_task(group, accept_model_errors) for task, group in groups.items() if group
    }


def summarise_levels(
    judgements: Iterable[Judgement], split: DifficultySplit, *, accept_model_errors: bool = False
) -> DifficultyScores:
    """Figures by level of a split that has every instance judged; all three levels are named."""
    groups: dict[Level, list[Judgement]] = {level: [] for level in Level}
    for judgement in judgements:
        groups[split.levels[judgement.instance.id]].append(judgement)
    return DifficultyScores(
        split=split.hash,
        rule=split.rule.name,
        counts=split.counts,
        levels={level: _figures(group, accept_model_errors) for level, group in groups.items()},
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


def _summarise_task(group: Sequence[Judgement], accept_model_errors: bool) -> TaskScores:
    named = [each for each in group if each.prediction.named_image is not None]
    return TaskScores(
        **msgspec.structs.asdict(_figures(group, accept_model_errors)),
        flags={flag: sum(flag in each.flags for each in group) for flag in Flag},
        repaired_truths=sum(each.truth != each.instance.box for each in group),
        named_images=NamedImages(
            named=len(named),
            right=sum(each.prediction.named_image == each.instance.target_image for each in named),
        ),
    )


def _figures(group: Sequence[Judgement], accept_model_errors: bool) -> Figures:
    outcomes = {one: sum(each.outcome is one for each in group) for one in Outcome}
    complete = bool(group) and (accept_model_errors or not outcomes[Outcome.MODEL_ERROR])
    overlaps = [each.iou for each in group]
    return Figures(
        at_30=_share(overlaps, 0.3) if complete else None,
        at_50=_share(overlaps, 0.5) if complete else None,
        at_70=_share(overlaps, 0.7) if complete else None,
        mean_iou=sum(overlaps) / len(overlaps) if complete else None,
        n=len(group),
        outcomes=outcomes,
    )


def _share(overlaps: Sequence[float], threshold: float) -> float:
    return 100 * sum(overlap >= threshold for overlap in overlaps) / len(overlaps)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
