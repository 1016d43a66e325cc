"""From scored runs to the page's data: every target with what each run makes of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from migbench.asking.questions import REFERENCE_BOX, Purpose, Question, Turn
from migbench.boxes import Box
from migbench.data.images import DataLocation, Images
from migbench.errors import DataError
from migbench.messages import ImageFile, Size
from migbench.reporting.html.excerpts import Span, excerpt
from migbench.reporting.html.records import (
    Edges,
    Gallery,
    Picture,
    Result,
    Said,
    ShownRun,
    ShownTask,
    Target,
)
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.plan import strategy_of
from migbench.runs.replay import replay
from migbench.runs.selection import questions_of
from migbench.scoring import DifficultySplit, SampleScore
from migbench.scoring.scored_run import ScoredRun, image_folder
from migbench.tasks import load_tasks

FARTHEST = 1e6
"""Edges beyond it are drawn there: a number of hundreds of digits is no place in an image."""


@dataclass(frozen=True)
class LabelledRun:
    """A scored run, and what the page calls it."""

    label: str
    scored: ScoredRun


@dataclass(frozen=True)
class WantedPicture:
    """An image that the page shows, and its size as a run noted it, where one did.

    ``problem`` says why it must not be looked at, if so. ``location`` is where it was looked up.
    """

    file: ImageFile
    size: Size | None
    problem: str | None = None
    location: DataLocation | None = None

    def find(self) -> ImageFile:
        """The file as of now. Raises `DataError` where its path, links followed, is refused."""
        return self.location.image(self.file.name) if self.location else self.file


MakePictures = Callable[[Sequence[WantedPicture]], list[Picture]]
"""Makes the page's pictures: embedded, linked, or served."""


def gather(
    runs: Sequence[LabelledRun],
    make_pictures: MakePictures,
    *,
    images: Images = None,
    difficulty: DifficultySplit | None = None,
) -> Gallery:
    """Everything that the page shows of single targets, in the annotation file's order.

    Images are looked up below ``images``, else where each run found them. Levels are those of the
    ``difficulty`` split.
    """
    files = {run.scored.annotations.content_sha256 for run in runs}
    gathering = _Gathering(len(runs), difficulty, several_files=len(files) > 1)
    for place, run in enumerate(runs):
        gathering.add(place, run.scored, images)
    present = {target.task for target in gathering.targets.values()}
    return Gallery(
        runs=[
            ShownRun(
                label=run.label,
                evaluator=run.scored.scores.evaluator,
                strategy=run.scored.scores.strategy,
                errors_are_misses=run.scored.scores.accepted_model_errors,
            )
            for run in runs
        ],
        tasks=[
            ShownTask(key=spec.key, column=spec.column, title=spec.title)
            for spec in load_tasks()
            if spec.key in present
        ],
        pictures=make_pictures([*gathering.wanted.values()]),
        sets=[[*numbers] for _, numbers in gathering.sets],
        targets=[*gathering.targets.values()],
        said=gathering.said,
    )


Key = tuple[str, int]
"""An annotation file's hash, and a place in the file."""


@dataclass
class _Gathering:
    """What was found up to now."""

    runs: int
    difficulty: DifficultySplit | None
    several_files: bool
    targets: dict[Key, Target] = field(default_factory=dict)
    wanted: dict[str, WantedPicture] = field(default_factory=dict)
    sets: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    said: list[list[Said]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, place: int, scored: ScoredRun, images: Images) -> None:
        """Add one more run."""
        location = DataLocation(scored.annotations.path, image_folder(scored.run, images))
        turns = _Turns.of(scored)
        # Annotation files share ids and images; targets of one are not to be taken for another's.
        file = f"@{scored.scores.annotations.label}" if self.several_files else ""
        self.said.append(turns.said)
        for sample in scored.samples:
            key = scored.annotations.content_sha256, sample.instance.index
            for name in sample.instance.images:
                self._want(name, location, turns.sizes.get(name))
            if key not in self.targets:
                self.targets[key] = self._target(sample, file)
            self.targets[key].results[place] = turns.result(sample)

    def _want(self, name: str, location: DataLocation, size: Size | None) -> None:
        """Have an image shown; the first run that has it decides where it is."""
        known = self.wanted.get(name)
        if known and (known.file.path or location.images is None):
            return
        self._numbers.setdefault(name, len(self._numbers))
        try:
            self.wanted[name] = WantedPicture(location.image(name), size, location=location)
        except DataError as error:
            self.wanted[name] = WantedPicture(ImageFile(name), size, str(error), location)

    def _target(self, sample: SampleScore, file: str) -> Target:
        instance = sample.instance
        numbers = tuple(self._numbers[name] for name in instance.images)
        return Target(
            id=instance.id + file,
            task=instance.task,
            set=self.sets.setdefault((file, numbers), len(self.sets)),
            image=instance.target_image,
            asked=instance.asked_image is not None,
            question=excerpt(instance.question),
            truth=_edges(sample.truth),
            repaired=sample.truth != instance.box,
            reference=_reference_box(instance.question),
            level=self.difficulty.levels[instance.id].value if self.difficulty else None,
            results=[None] * self.runs,
        )


Place = tuple[str, int]
"""A question's id, and the number of a turn."""


@dataclass
class _Turns:
    """A run's turns, and where to find those that decide on a target.

    ``steps`` are the turns that describe, of every question, by their numbers.
    """

    spans: dict[Place, list[Span]]
    said: list[Said] = field(default_factory=list)
    places: dict[Place, int] = field(default_factory=dict)
    steps: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[str, Size] = field(default_factory=dict)

    @classmethod
    def of(cls, scored: ScoredRun) -> _Turns:
        """All turns of a run."""
        turns = cls(_spans(scored.samples))
        settings = scored.run.settings
        strategy = strategy_of(settings)
        for question in questions_of(settings, scored.annotations):
            asked = replay(strategy(question), question.id, scored.run.lines)
            for number, (turn, line) in enumerate(asked):
                if line is not None:
                    turns._add(question, number, turn, line)
        return turns

    def _add(self, question: Question, number: int, turn: Turn, line: AnswerLine) -> None:
        place = question.id, number
        self.places[place] = len(self.said)
        self.said.append(_said(turn, line, self.spans.get(place, [])))
        if turn.purpose is Purpose.DESCRIBE:
            self.steps[question.id].append(number)
        if line.sizes is not None:
            known = (Size(*size) for size in line.sizes)
            self.sizes.update(zip(question.images, known, strict=False))

    def result(self, sample: SampleScore) -> Result:
        """What the run makes of a target."""
        line, prediction = sample.line, sample.prediction
        numbers, span = [], None
        if line is not None:
            earlier = (number for number in self.steps[line.question] if number < line.turn)
            numbers = [self.places[line.question, number] for number in (*earlier, line.turn)]
            if prediction.span is not None:
                span = self.spans[line.question, line.turn].index(prediction.span)
        return Result(
            outcome=sample.outcome.value,
            iou=round(sample.iou, 4),
            box=None if prediction.box is None else _edges(prediction.box),
            flags=[flag.value for flag in prediction.flags],
            reason=None if prediction.reason is None else prediction.reason.value,
            named=prediction.named_image,
            said=numbers,
            span=span,
        )


def _spans(samples: Iterable[SampleScore]) -> dict[Place, list[Span]]:
    """What was read from every turn, whichever target it is for."""
    found: defaultdict[Place, list[Span]] = defaultdict(list)
    for sample in samples:
        line, span = sample.line, sample.prediction.span
        if line is not None and span is not None and span not in found[line.question, line.turn]:
            found[line.question, line.turn].append(span)
    return found


def _said(turn: Turn, line: AnswerLine, spans: Sequence[Span]) -> Said:
    answer = line.answer
    return Said(
        purpose=turn.purpose.value,
        images=[*turn.images],
        prompt=excerpt(line.prompt or turn.text),
        text=None if line.text is None else excerpt(line.text, spans),
        length=len(line.text or ""),
        truncated=answer is not None and answer.truncated,
        refused=answer is not None and answer.refused,
        error=None if line.error is None else excerpt(line.error),
        tokens=None if answer is None else answer.completion_tokens,
        seconds=None if answer is None else answer.seconds,
    )


def _reference_box(question: str) -> Edges | None:
    """The box that a question is about; the data set writes it in thousandths of the first image.

    >>> _reference_box("the object in <|box_start|>(100,200),(300,400)<|box_end|>")
    (0.1, 0.2, 0.3, 0.4)
    """
    found = REFERENCE_BOX.search(question)
    if found is None:
        return None
    left, top, right, bottom = (int(digits) / 1000 for digits in re.findall(r"\d+", found[0]))
    return _edges(Box(left, top, right, bottom))


def _edges(box: Box) -> Edges:
    left, top, right, bottom = (round(min(max(e, -FARTHEST), FARTHEST), 5) for e in box)
    return left, top, right, bottom
