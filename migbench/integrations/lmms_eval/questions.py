"""What a logged sample is an answer to, in one line that lmms-eval keeps with it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Question
from migbench.data.annotations import Annotations, read_annotations
from migbench.data.versions import Identity


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A question, by id, of an evaluator on an annotation file, asked in a dialect."""

    question: str
    evaluator: str
    dialect: str
    content_sha256: str | None = None
    """What the annotation file is known by (`migbench.data.content`)."""
    annotations: str | None = None
    """SHA-256 of the file's bytes, in logs of earlier versions."""

    @property
    def identity(self) -> Identity:
        """Which annotation file it is a question of."""
        return Identity(self.content_sha256, self.annotations)


@cache
def read_once(path: Path) -> Annotations:
    """The annotation file, read once in a process however many tasks ask for it."""
    annotations = read_annotations(path)
    annotations.require_usable()
    return annotations


@cache
def questions_by_id(path: Path, evaluator: str) -> dict[str, Question]:
    """An evaluator's questions on an annotation file."""
    return {each.id: each for each in EVALUATORS[evaluator](read_once(path).instances)}
