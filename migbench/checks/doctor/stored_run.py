"""A stored run, without ground truth: whether its answers are what they are declared to be.

The annotations' boxes are not used; which image a question is about decides on the size in pixels,
as it does when answers in pixels are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from migbench.boxes import Convention
from migbench.checks.doctor.answers import AnswerFormat, RawAnswer, parse_answers
from migbench.checks.doctor.conventions import described, flags
from migbench.checks.doctor.findings import (
    Finding,
    good,
    habits,
    is_ok,
    note,
    problem,
    without_box,
)
from migbench.checks.doctor.numbers import BoxNumbers, NumberStatistics, number_statistics
from migbench.data.images import Images
from migbench.dialects import PromptSet
from migbench.errors import ModelError
from migbench.messages import ImageFile, Size
from migbench.models.resolving import Model
from migbench.runs.selection import questions_of
from migbench.runs.store import Run
from migbench.scoring.scored_run import annotations_of, image_folder
from migbench.util.plain_text import encodable

BEYOND = 1.0
"""Percent of boxes beyond the frame from which on more is wrong than a model's odd mistake."""
MOST = 90.0
DECIMALS = 50.0
SAME = 50.0
OTHER_ORDER_LEAD = 10.0
RELATIVE_ELASTICITY = 0.25
"""Percent per percent from which numbers are not relative; bounds of area slow pixels down."""
PIXEL_ELASTICITY = 0.5


class StoredRunCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The format of a run's answers; ``numbers`` is None where no answer holds a box."""

    run: str
    model: Model
    answers: AnswerFormat
    numbers: NumberStatistics | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the declared convention."""
        return is_ok(self.findings)


def check_stored_run(
    run: Run, *, annotations: Path | None = None, images: Images = None
) -> StoredRunCheck:
    """Search a run's answers for what speaks against its dialect.

    ``annotations`` and ``images`` say where these are now, if they were moved. Without images, and
    where the run kept no sizes, pixels show by their range alone. Raises `DataError` where the
    annotation file is gone or another one.
    """
    settings = run.settings
    data = annotations_of(run, annotations)
    answers, form = parse_answers(
        settings, questions_of(settings, data), run.lines, data.cluster_of
    )
    folder = image_folder(run, images)
    boxes = box_numbers(answers, folder.file if folder else None)
    numbers = number_statistics(boxes, settings.model.dialect.convention)
    return StoredRunCheck(
        run=encodable(str(run.folder)),
        model=settings.model,
        answers=form,
        numbers=numbers,
        findings=tuple(_findings(settings.model, PromptSet(settings.prompts), form, numbers)),
    )


def box_numbers(
    answers: Sequence[RawAnswer], image: Callable[[str], ImageFile] | None = None
) -> list[BoxNumbers]:
    """The numbers of all boxes, with the sizes of images that the run kept, or ``image`` finds."""
    return [
        BoxNumbers(each.numbers, _size(each, image), each.cluster)
        for each in answers
        if each.numbers
    ]


def _size(each: RawAnswer, image: Callable[[str], ImageFile] | None) -> Size | None:
    """The size of the image asked about, where the run kept it or the image is there."""
    target = each.instance.target_image
    if each.line and (size := each.line.size(target)) is not None:
        return size
    try:
        return image(each.instance.images[target]).size() if image else None
    except ModelError:
        return None


def _findings(
    model: Model, prompts: PromptSet, answers: AnswerFormat, numbers: NumberStatistics | None
) -> Iterator[Finding]:
    yield from without_box(model, answers)
    if numbers is None:
        yield problem("No answer holds a box: nothing can be said of its numbers.")
        return
    convention = model.dialect.convention
    if answers.used != answers.declared:
        yield problem(
            f"Boxes are written in another syntax than declared: {', '.join(answers.used)}.",
            *flags(model.dialect, convention, answers.used, prompts, answers.samples),
        )
    found = against(convention, numbers)
    yield from found
    if is_ok(found):
        yield good(
            f"Nothing in the numbers speaks against {described(convention)}. Whether it is right, "
            "only known boxes tell: migbench doctor --model"
        )
    yield from habits(answers)


def against(convention: Convention, numbers: NumberStatistics) -> list[Finding]:
    """What in the numbers speaks against a convention."""
    return [
        *_range(convention, numbers),
        *_places(numbers),
        *_order(convention, numbers),
        *_elasticity(convention, numbers),
    ]


def _range(convention: Convention, numbers: NumberStatistics) -> Iterator[Finding]:
    """Numbers that are too large or too small for the declared scale."""
    name = described(convention)
    if numbers.beyond:
        text = (
            f"{numbers.beyond:.1f} % of {numbers.n} boxes reach beyond the frame of {name}; the "
            f"largest number is {numbers.largest:g}."
        )
        if numbers.beyond < BEYOND:
            yield note(text)
        elif convention.scale is None:
            yield problem(f"{text} Are they thousandths, or pixels of an image resized otherwise?")
        else:
            yield problem(f"{text} Are they pixels, or of another scale?")
    if convention.scale != 1 and numbers.decimals >= DECIMALS:
        yield problem(
            f"{numbers.decimals:.0f} % of the boxes hold no number above 1, though {name} is "
            "declared. Are they decimals in 0-1?"
        )


def _places(numbers: NumberStatistics) -> Iterator[Finding]:
    if numbers.same >= SAME:
        box = ", ".join(f"{number:g}" for number in numbers.same_box)
        yield problem(
            f"{numbers.same:.0f} % of the boxes are the same one ({box}): the model may be shown "
            "no images."
        )
    elif numbers.corner is not None and numbers.corner >= MOST:
        yield problem(
            f"{numbers.corner:.0f} % of the boxes lie in the same corner of their images. Are the "
            "numbers smaller than declared: pixels of small images, or another scale?"
        )


def _order(convention: Convention, numbers: NumberStatistics) -> Iterator[Finding]:
    """Whether boxes stand upright and inside in another order than the declared one alone."""
    shares = numbers.upright or {}
    declared = shares.get(convention.order, 0.0)
    better = [
        f"{order} ({share:.0f} %)"
        for order, share in shares.items()
        if share >= max(declared + OTHER_ORDER_LEAD, MOST)
    ]
    if better:
        yield problem(
            f"Only {declared:.0f} % of the boxes are upright and inside their images as "
            f"{convention.order}; more would be as {' or '.join(better)}."
        )


def _elasticity(convention: Convention, numbers: NumberStatistics) -> Iterator[Finding]:
    """Whether numbers grow with the images, as pixels do and relative numbers do not."""
    found = numbers.elasticity
    if found is None:
        if not numbers.sizes_known:
            yield note(
                "Image sizes are not known, so pixels cannot be told from relative numbers by "
                "how they grow with the images: pass --images"
            )
        return
    says = f"{found.value:.2f} % per % [{found.low:.2f}, {found.high:.2f}]"
    if convention.scale is not None and found.low > RELATIVE_ELASTICITY:
        yield problem(
            f"The numbers grow with the images ({says}), as pixels do; {described(convention)} "
            "would not."
        )
    elif convention.scale is None and found.high < PIXEL_ELASTICITY:
        yield problem(
            f"The numbers do not grow with the images ({says}), as pixels would: are they "
            "thousandths?"
        )
