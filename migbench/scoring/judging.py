"""Judging a run: every target's prediction, IoU and outcome under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from migbench.asking.questions import Purpose, Question, Strategy, Turn
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import Dialect
from migbench.messages import ImageFile
from migbench.models.corrections import Correction
from migbench.runs.replay import replay
from migbench.runs.store import AnswerLine
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Flag, Outcome, Prediction
from migbench.scoring.protocols import Protocol

HIT_AT = 0.5

Lines = Mapping[tuple[str, int], AnswerLine]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One target's result. ``iou`` is 0 without a box; ``truth`` is as the protocol takes it.

    ``line`` is the answer that the box was read from, or the failure in its place, or None where
    nothing was asked yet.
    """

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
    """How a run's answers are judged. ``image`` finds images whose sizes the run did not keep."""

    protocol: Protocol
    dialect: Dialect
    strategy: Callable[[Question], Strategy]
    strategy_name: str = "direct"
    correction: Correction | None = None
    image: Callable[[str], ImageFile] | None = None

    def predict(
        self, question: Question, lines: Lines
    ) -> Iterator[tuple[Instance, AnswerLine | None, Prediction]]:
        """For every target of a question: the line that decides on it, and what it gives.

        The last turn that grounds a box decides on it. Boxes that no answered turn reaches have no
        answer, and neither have those whose last turn failed; after a turn that a content filter
        refused, they are refused.
        """
        unanswered = Prediction(outcome=Outcome.MODEL_ERROR)
        refused = Prediction(outcome=Outcome.REFUSED)
        nothing = unanswered
        decided: dict[int, tuple[AnswerLine | None, Prediction]] = {}
        line: AnswerLine | None = None
        for turn, line in replay(self.strategy(question), question.id, lines):
            # A filter's refusal ends its question, whatever text came with it.
            nothing = refused if line is not None and line.refused else unanswered
            predictions = [nothing] * len(turn.grounds)
            if turn.grounds and line is not None and line.text is not None and not line.refused:
                predictions = self._predict_turn(question, turn, line)
            decided |= {
                place: (line, prediction)
                for place, prediction in zip(turn.grounds, predictions, strict=True)
            }
        for place, asked in enumerate(question.asked):
            deciding, prediction = decided.get(place, (line, nothing))
            for instance in asked.instances:
                yield instance, deciding, prediction

    def _predict_turn(self, question: Question, turn: Turn, line: AnswerLine) -> list[Prediction]:
        answer = AnswerInContext(
            question, turn, line, self.dialect, self.strategy_name, self.correction, self.image
        )
        predictions = self.protocol.predict(answer)
        if turn.wants_images:
            wanted = self.protocol.reads_images
            return [replace(each, image_wanted=wanted) for each in predictions]
        if turn.purpose is not Purpose.GROUND:
            return predictions
        # An image was named in step 1, if at all.
        return [
            replace(each, named_image=turn.chosen_image, image_wanted=turn.follows_choice)
            for each in predictions
        ]


def judge(judge: Judge, questions: Iterable[Question], lines: Lines) -> list[Judgement]:
    """Judge every target of the questions, in the annotation file's order; IoU all at once."""
    found = [each for question in questions for each in judge.predict(question, lines)]
    found.sort(key=lambda each: each[0].index)
    truths = [judge.protocol.truth(instance) for instance, _, _ in found]
    overlaps = _overlaps(judge.protocol, [prediction for _, _, prediction in found], truths)
    return [
        Judgement(instance, line, prediction, truth, overlap, _outcome(prediction, overlap))
        for (instance, line, prediction), truth, overlap in zip(
            found, truths, overlaps, strict=True
        )
    ]


def _overlaps(protocol: Protocol, predictions: list[Prediction], truths: list[Box]) -> list[float]:
    nothing = Box(0.0, 0.0, 0.0, 0.0)
    boxes = np.array([prediction.box or nothing for prediction in predictions]).reshape(-1, 4)
    overlaps: list[float] = protocol.iou(boxes, np.array(truths).reshape(-1, 4)).tolist()
    return overlaps


def _outcome(prediction: Prediction, overlap: float) -> Outcome:
    if prediction.outcome is not None:
        return prediction.outcome
    return Outcome.HIT if overlap >= HIT_AT else Outcome.MISS
