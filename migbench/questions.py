"""What is asked, before any model's dialect: questions by evaluators, turns by strategies."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum

from migbench.data.annotations import Instance


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image set, and the instances that its answer is scored on.

    ``text`` is worded as in the data set: with Qwen2-VL's tokens, boxes in thousandths.
    """

    id: str
    targets: tuple[Instance, ...]
    text: str

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the image set's images, in order."""
        return self.targets[0].images


class Purpose(StrEnum):
    """What a turn is for; it decides which answer format the dialect asks for."""

    DIRECT = "direct"
    """Ground the target at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange with the model: a text about some of the question's images (indices from 0)."""

    purpose: Purpose
    text: str
    images: tuple[int, ...]


Strategy = Generator[Turn, str, None]
"""Yields a turn, receives its answer's text, and so on; the last answer is the one that is read."""
