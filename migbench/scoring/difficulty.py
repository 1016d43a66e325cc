"""Difficulty: easy, medium or hard, by the rule of section 7.3 of the Migician paper.

The rule looks at four baseline runs, two models each under direct inference and under chain of
thought. Its wording leaves gaps; every choice made to fill them is a field of `Rule`, and
``docs/difficulty.md`` names them. The authors did not publish their split: this is not theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from migbench.data.annotations import Annotations
from migbench.data.versions import Identity
from migbench.errors import DataError
from migbench.runs.store import Run
from migbench.util.hashing import short_hash
from migbench.util.json_files import read_json


class Level(StrEnum):
    """How hard an instance is."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section 7.3, with a choice for each gap in its wording; ``about`` says what is special."""

    name: str
    about: str
    easy_below: int = 4
    """"Fewer than four input images": fewer than this many."""
    easy_hits: int = 3
    """"More than two models achieve correct answers": at least this many of the four runs hit."""
    gain_over: float = 0.15
    """"An IoU improvement exceeding 0.15": more than this, whatever the number of images."""
    gain_of: Literal["mean", "each"] = "mean"
    """"Average": the mean of both models' gains, or each model's gain, must exceed it."""
    hard_from: int = 5
    """"Over four input images": at least this many."""
    hard_hits: int = 1
    """"No more than one model succeeds": at most this many of the four runs hit."""
    first: Level = Level.EASY
    """What an instance is that meets both conditions; the paper states Easy's first."""

    def gain(self, gains: Sequence[float]) -> float:
        """The one number to hold against ``gain_over``, from every model's gain in IoU."""
        return min(gains) if self.gain_of == "each" else sum(gains) / len(gains)


LITERAL = Rule(name="literal", about="the wording of section 7.3, taken literally")
RULES = {
    rule.name: rule
    for rule in (
        LITERAL,
        Rule(name="from-four", about="Hard from four images on, not from five", hard_from=4),
        Rule(
            name="each-model",
            about="the IoU must rise by more than 0.15 for each model, not on average",
            gain_of="each",
        ),
        Rule(
            name="hard-first",
            about="what meets both conditions is Hard, not Easy",
            first=Level.HARD,
        ),
    )
}
"""The rule, and other ways to take its wording, by name."""


def level(images: int, hits: Sequence[bool], gain: float, rule: Rule = LITERAL) -> Level:
    """One instance's level.

    ``images`` is the size of its image set, ``hits`` says which of the four baseline runs reach
    IoU 0.5, and ``gain`` is what chain of thought adds to the IoU (-1 to 1; see `Rule.gain`).
    """
    solved = images < rule.easy_below and sum(hits) >= rule.easy_hits
    easy = solved or gain > rule.gain_over
    hard = images >= rule.hard_from and sum(hits) <= rule.hard_hits
    if easy and hard:
        return rule.first
    return Level.EASY if easy else Level.HARD if hard else Level.MEDIUM


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the four runs that a split came from; ``answers`` is a short hash of its answers."""

    run: str
    model: str
    strategy: str
    prompts: str
    evaluator: str
    protocol: str
    corrections: str
    answers: str


class DifficultySplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every instance's level on one annotation file: a JSON file that needs no baselines to use.

    ``version`` and ``content_sha256`` identify the annotation file, or in splits of earlier
    versions ``sha256``, of its bytes; ``levels`` goes by instance id.
    """

    note: str = "Made by migbench from the runs below; not the split of the Migician paper."
    version: str
    content_sha256: str | None = None
    sha256: str | None = None
    rule: Rule
    runs: tuple[Baseline, ...]
    counts: dict[Level, int]
    levels: dict[str, Level]

    def __post_init__(self) -> None:
        """Refuse counts that are not those of the levels."""
        if self.counts != count_levels(self.levels.values()):
            raise ValueError("'counts' are not those of 'levels'; make the split again")
        if self.content_sha256 is None and self.sha256 is None:
            raise ValueError("'content_sha256' is missing: on which annotation file it is")

    @property
    def identity(self) -> Identity:
        """Which annotation file it is for."""
        return Identity(self.content_sha256, self.sha256)

    @property
    def hash(self) -> str:
        """Twelve digits that stand for who is on which level, on which annotation file."""
        return short_hash(
            self.identity.lasting_name,
            *(f"{id_} {self.levels[id_]}" for id_ in sorted(self.levels)),
        )

    def is_made_from(self, run: Run) -> bool:
        """Whether a run is one of the four, known by its answers."""
        return hash_answers(run) in {each.answers for each in self.runs}

    def check(self, annotations: Annotations) -> None:
        """Raise `DataError` where the split is for another annotation file."""
        if not self.identity.is_same(annotations.identity):
            raise DataError(
                f"the difficulty split is for the {self.version} annotation file "
                f"({self.identity.short}), not for {annotations.path} "
                f"({annotations.version} {annotations.identity.short})"
            )
        known = len(self.levels) == len(annotations.instances)
        if not known or any(each.id not in self.levels for each in annotations.instances):
            raise DataError(
                f"the difficulty split has not the instances of {annotations.path}; make it again"
            )


def hash_answers(run: Run) -> str:
    """Twelve digits that stand for all that was answered, in whatever order it arrived."""
    return short_hash(
        *(f"{question} {turn} {line.text}" for (question, turn), line in sorted(run.lines.items()))
    )


def count_levels(levels: Iterable[Level]) -> dict[Level, int]:
    """How many instances are on each level, all three named."""
    counts = Counter(levels)
    return {one: counts[one] for one in Level}


def read_split(path: Path) -> DifficultySplit:
    """Read a split's file. Raises `DataError` where it is not one."""
    return read_json(path, DifficultySplit, "a difficulty split")
