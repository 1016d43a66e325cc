"""Scoring answers: every target's prediction, IoU and outcome under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from migbench.asking.questions import Asked, Purpose, Question, Strategy, Turn
from migbench.boxes import Box, FloatArray, iou
from migbench.data.annotations import Instance
from migbench.dialects import Dialect, ParsedAnswer, parse
from migbench.messages import Answer, ImageFile, Size
from migbench.models.corrections import Correction
from migbench.runs.answer_lines import AnswerLine, Lines
from migbench.runs.replay import replay
from migbench.scoring.outcomes import Flag, Outcome, Prediction

HIT_AT = 0.5


@dataclass(frozen=True, slots=True)
class SampleScore:
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
class Protocol:
    """A way of scoring, by its ``name``; ``about`` says in a few words what it scores.

    ``predict`` gives one prediction for every box that the answer is to give, ``truth`` the box
    that a target's prediction is held against (both in 0-1 of the image), and ``iou`` their
    intersection over union, pair by pair. Where the protocol ``reads_images``, a prediction has the
    image that the answer names; the published evaluators never look at it.
    """

    name: str
    about: str
    predict: Callable[[ScoringContext], list[Prediction]]
    truth: Callable[[Instance], Box]
    iou: Callable[[npt.ArrayLike, npt.ArrayLike], FloatArray] = iou
    reads_images: bool = False


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores answers under one protocol, as they were asked for.

    ``image`` finds image files where sizes in pixels are needed and the run did not keep them.
    """

    protocol: Protocol
    dialect: Dialect
    strategy: Callable[[Question], Strategy]
    strategy_name: str = "direct"
    correction: Correction | None = None
    image: Callable[[str], ImageFile] | None = None

    def score(self, questions: Iterable[Question], lines: Lines) -> list[SampleScore]:
        """Score every target of the questions, in the annotation file's order; IoU all at once."""
        found = [each for question in questions for each in self.predict(question, lines)]
        found.sort(key=lambda each: each[0].index)
        truths = [self.protocol.truth(instance) for instance, _, _ in found]
        overlaps = self._overlaps([prediction for _, _, prediction in found], truths)
        return [
            SampleScore(instance, line, prediction, truth, overlap, _outcome(prediction, overlap))
            for (instance, line, prediction), truth, overlap in zip(
                found, truths, overlaps, strict=True
            )
        ]

    def predict(
        self, question: Question, lines: Lines
    ) -> Iterator[tuple[Instance, AnswerLine | None, Prediction]]:
        """For every target of a question: the line that decides on it, and what it gives.

        The last turn that grounds a box decides on it. Boxes that no answered turn reaches have no
        answer, and neither have those whose last turn failed; after a turn that a content filter
        refused, they are refused.
        """
        nothing = Prediction(outcome=Outcome.MODEL_ERROR)
        decided: dict[int, tuple[AnswerLine | None, Prediction]] = {}
        line: AnswerLine | None = None
        for turn, line in replay(self.strategy(question), question.id, lines):
            predictions, nothing = self._predict_turn(question, turn, line)
            decided |= {
                place: (line, prediction)
                for place, prediction in zip(turn.grounds, predictions, strict=True)
            }
        for place, asked in enumerate(question.asked):
            deciding, prediction = decided.get(place, (line, nothing))
            for instance in asked.instances:
                yield instance, deciding, prediction

    def _predict_turn(
        self, question: Question, turn: Turn, line: AnswerLine | None
    ) -> tuple[list[Prediction], Prediction]:
        """What a turn gives for every box that it grounds, and for those that no turn reaches."""
        unanswered = Prediction(outcome=Outcome.MODEL_ERROR)
        if line is None or line.answer is None:
            return [unanswered] * len(turn.grounds), unanswered
        if line.answer.refused:
            # A filter's refusal ends its question, whatever text came with it.
            refused = Prediction(outcome=Outcome.REFUSED)
            return [refused] * len(turn.grounds), refused
        if not turn.grounds:
            return [], unanswered
        predictions = self.protocol.predict(ScoringContext(self, question, turn, line))
        return [self._with_named_image(each, turn) for each in predictions], unanswered

    def _with_named_image(self, prediction: Prediction, turn: Turn) -> Prediction:
        if turn.wants_images:
            return replace(prediction, image_wanted=self.protocol.reads_images)
        if turn.purpose is not Purpose.GROUND:
            return prediction
        # An image was named in step 1, if at all.
        return replace(prediction, named_image=turn.chosen_image, image_wanted=turn.follows_choice)

    def _overlaps(self, predictions: Sequence[Prediction], truths: Sequence[Box]) -> list[float]:
        nothing = Box(0.0, 0.0, 0.0, 0.0)
        boxes = np.array([prediction.box or nothing for prediction in predictions]).reshape(-1, 4)
        overlaps: list[float] = self.protocol.iou(boxes, np.array(truths).reshape(-1, 4)).tolist()
        return overlaps


def _outcome(prediction: Prediction, overlap: float) -> Outcome:
    if prediction.outcome is not None:
        return prediction.outcome
    return Outcome.HIT if overlap >= HIT_AT else Outcome.MISS


@dataclass(frozen=True)
class ScoringContext:
    """One answered turn as a protocol sees it: what was asked and said, and who scores it."""

    scorer: Scorer
    question: Question
    turn: Turn
    line: AnswerLine

    @property
    def answer(self) -> Answer:
        """What the model said."""
        assert self.line.answer is not None, "only answered turns are scored"
        return self.line.answer

    @cached_property
    def asked(self) -> list[Asked]:
        """The boxes that this answer is to give."""
        return [self.question.asked[place] for place in self.turn.grounds]

    def parse(self) -> ParsedAnswer:
        """The answer, parsed in the declared dialect; images are those shown, in their order."""
        shown = self.turn.images
        targets = [asked.instances[0].target_image for asked in self.asked]
        return parse(
            self.scorer.dialect,
            self.answer.text,
            label_kind=self.asked[0].noun,
            truncated=self.answer.truncated,
            sizes=self._sizes(),
            default_images=[shown.index(image) if image in shown else 0 for image in targets],
            image_is_asked=len(self.asked) == 1 and self.asked[0].number is not None,
        )

    def _sizes(self) -> Sequence[Size] | None:
        """The shown images' sizes in pixels, where the dialect needs them and they can be had."""
        if not self.scorer.dialect.needs_size:
            return None
        kept = [self.line.size(index) for index in self.turn.images]
        known = [size for size in kept if size is not None]
        if len(known) == len(kept):
            return known
        if self.scorer.image is None:
            return None
        return [self.scorer.image(self.question.images[index]).size() for index in self.turn.images]

    def corrected(self, box: Box, boxes_in_answer: int) -> Box:
        """The box after the model's correction, which applies to single boxes alone."""
        if self.scorer.correction is None or boxes_in_answer != 1:
            return box
        return self.scorer.correction.apply(box)
