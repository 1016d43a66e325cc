"""Polling: one question for every target, worded as in the data set; the paper's default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from migbench.asking.questions import Asked, Question
from migbench.data.annotations import Instance
from migbench.tasks import Noun


def polling(instances: Iterable[Instance]) -> Iterator[Question]:
    """One question an instance (paper, appendix F)."""
    for instance in instances:
        number = None if instance.asked_image is None else instance.asked_image + 1
        yield Question(instance.id, (Asked(Noun.IMAGE, number, (instance,)),), instance.question)
