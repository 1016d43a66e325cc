"""How much of its annotation file a run was asked: what its figures stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from migbench.scoring.summary import Scores


@dataclass(frozen=True, slots=True)
class Coverage:
    """The number of instances that a run was asked, ``of`` how many that could be asked."""

    asked: int
    of: int

    @property
    def is_part(self) -> bool:
        """Whether instances are left out: by a limit, a choice of tasks, or as other shards'."""
        return self.asked < self.of

    @property
    def mark(self) -> str:
        """What stands behind a run's name: ``" [30 of 4,295]"``, or nothing for a whole run."""
        return f" [{self}]" if self.is_part else ""

    def __str__(self) -> str:
        """``30 of 4,295``."""
        return f"{self.asked:,} of {self.of:,}"


def coverage_of(scores: Scores, tasks: Iterable[str] | None = None) -> Coverage:
    """How much a scored run was asked: of the whole file, or of these ``tasks`` alone."""
    keys = set(scores.available if tasks is None else tasks) | scores.tasks.keys()
    if tasks is not None:
        keys &= set(tasks)
    asked = {key: one.n for key, one in scores.tasks.items() if key in keys}
    return Coverage(
        sum(asked.values()), sum(scores.available.get(key, asked.get(key, 0)) for key in keys)
    )


def with_available(scores: Scores, available: Mapping[str, int]) -> Scores:
    """The scores with the number of instances in the annotation file beside every ``n``.

    ``available`` counts them by task. Levels of a difficulty split have the split's own counts.
    """
    difficulty = scores.difficulty
    if difficulty:
        levels = {
            level: replace(figures, available=difficulty.counts[level])
            for level, figures in difficulty.levels.items()
        }
        difficulty = replace(difficulty, levels=levels)
    return replace(
        scores,
        available=dict(available),
        tasks={key: replace(one, available=available[key]) for key, one in scores.tasks.items()},
        macro=replace(scores.macro, available=sum(available.values())),
        difficulty=difficulty,
    )
