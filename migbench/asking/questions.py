"""What is asked, before any model's dialect: questions by evaluators, turns by strategies."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from migbench.data.annotations import Instance
from migbench.tasks import Noun

_PAIR = r"\(\d{1,9},\d{1,9}\)"
REFERENCE_BOX = re.compile(rf"<\|box_start\|>{_PAIR},{_PAIR}<\|box_end\|>")
"""A reference box, as the data set writes it into a question."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One box that a question asks for, and the instances that it is scored on.

    The question calls it by a ``number``, from 1, of a ``noun``: image 3, or region 2. There is no
    number where the question leaves open which image to look in. Duplicate instances share a box.
    """

    noun: Noun
    number: int | None
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Question:
    """One question about one image set.

    ``text`` is worded as in the data set: with Qwen2-VL's tokens, boxes in thousandths. It may ask
    to name every box's image (``wants_images``).
    """

    id: str
    asked: tuple[Asked, ...]
    text: str
    wants_images: bool = False

    @cached_property
    def targets(self) -> tuple[Instance, ...]:
        """The instances that the answer is scored on."""
        return tuple(instance for asked in self.asked for instance in asked.instances)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the image set's images, in order."""
        return self.asked[0].instances[0].images

    @property
    def task(self) -> str:
        """The key of the task."""
        return self.asked[0].instances[0].task


def image_sets(questions: Iterable[Question]) -> list[list[Question]]:
    """The questions, those on one image set together; sets and questions in their order."""
    sets: dict[tuple[str, ...], list[Question]] = {}
    for question in questions:
        sets.setdefault(question.images, []).append(question)
    return [*sets.values()]


def by_image_set(questions: Iterable[Question]) -> list[Question]:
    """The questions with those on one image set together, else in their order.

    A model that caches prefixes then sees every image set once.
    """
    return [question for group in image_sets(questions) for question in group]


class Purpose(StrEnum):
    """What a turn is for; it decides which answer format the dialect asks for."""

    DIRECT = "direct"
    """Ground at once."""
    DESCRIBE = "describe"
    """Say in words what is to be found (chain of thought, step 1)."""
    GROUND = "ground"
    """Ground what was described (chain of thought, step 2)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange with the model: a text about some of the question's images (indices from 0).

    ``grounds`` says which of the question's boxes the answer gives, as indices into its ``asked``.
    ``wants_images`` says that it asks to name every box's image. ``follows_choice`` says that an
    earlier step asked for the image that decides on this turn, and ``chosen_image`` is the one that
    was named there, if any.
    """

    purpose: Purpose
    text: str
    images: tuple[int, ...]
    grounds: tuple[int, ...] = ()
    chosen_image: int | None = None
    follows_choice: bool = False
    wants_images: bool = False


Strategy = Generator[Turn, str, None]
"""Yields a turn, receives its answer's text, and so on; boxes are read from those that ground."""
