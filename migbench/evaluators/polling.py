"""Polling: one question for every target, worded as in the data set; the paper's default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from migbench.data.annotations import Instance
from migbench.questions import Question


def polling(instances: Iterable[Instance]) -> Iterator[Question]:
    """One question an instance (paper, appendix F)."""
    for instance in instances:
        yield Question(id=instance.id, targets=(instance,), text=instance.question)
