"""Judging a run: every target's prediction, IoU and outcome under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from migbench.boxes import Box, iou
from migbench.corrections import Correction
from migbench.data.annotations import Instance
from migbench.dialects import Dialect
from migbench.messages import ImageFile
from migbench.questions import Question, Strategy
from migbench.run_store import AnswerLine
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Flag, Outcome, Prediction
from migbench.scoring.protocols import Protocol

HIT_AT = 0.5

Lines = Mapping[tuple[str, int], AnswerLine]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One target's result. ``iou`` is 0 without a box; ``truth`` is as the protocol takes it."""

    instance: Instance
    line: AnswerLine | None
    prediction: Prediction
    truth: Box
    iou: float
    outcome: Outcome

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What is worth knowing beside the outcome."""
        return self.prediction.flags


@dataclass(frozen=True, slots=True)
class Judge:
    """How a run's answers are judged."""

    protocol: Protocol
    dialect: Dialect
    strategy: Callable[[Question], Strategy]
    correction: Correction | None = None
    image: Callable[[str], ImageFile] | None = None

    def predict(
        self, question: Question, lines: Lines
    ) -> tuple[AnswerLine | None, list[Prediction]]:
        """The question's last line, if it was answered, and a prediction for each target."""
        line = final_line(self.strategy(question), question.id, lines)
        if line is None or line.text is None:
            return line, [Prediction(outcome=Outcome.MODEL_ERROR)] * len(question.targets)
        answer = AnswerInContext(question, line, self.dialect, self.correction, self.image)
        return line, self.protocol.predict(answer)


def judge(judge: Judge, questions: Iterable[Question], lines: Lines) -> list[Judgement]:
    """Judge every target of the questions, in their order; IoU is computed for all at once."""
    instances: list[Instance] = []
    answered: list[AnswerLine | None] = []
    predictions: list[Prediction] = []
    for question in questions:
        line, predicted = judge.predict(question, lines)
        instances.extend(question.targets)
        answered.extend([line] * len(predicted))
        predictions.extend(predicted)
    truths = [judge.protocol.truth(instance) for instance in instances]
    overlaps = _overlaps(predictions, truths)
    return [
        Judgement(instance, line, prediction, truth, overlap, _outcome(prediction, overlap))
        for instance, line, prediction, truth, overlap in zip(
            instances, answered, predictions, truths, overlaps, strict=True
        )
    ]


def final_line(turns: Strategy, question: str, lines: Lines) -> AnswerLine | None:
    """The line of a question's last turn, by going through its strategy with the stored answers.

    Where a turn has no answer: the line that says why, or None if it was never asked.
    """
    next(turns)
    number = 0
    while True:
        line = lines.get((question, number))
        if line is None or line.text is None:
            return line
        try:
            turns.send(line.text)
        except StopIteration:
            return line
        number += 1


def _overlaps(predictions: list[Prediction], truths: list[Box]) -> list[float]:
    nothing = Box(0.0, 0.0, 0.0, 0.0)
    boxes = np.array([prediction.box or nothing for prediction in predictions]).reshape(-1, 4)
    overlaps: list[float] = iou(boxes, np.array(truths).reshape(-1, 4)).tolist()
    return overlaps


def _outcome(prediction: Prediction, overlap: float) -> Outcome:
    if prediction.outcome is not None:
        return prediction.outcome
    return Outcome.HIT if overlap >= HIT_AT else Outcome.MISS
