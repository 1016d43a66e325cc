"""A finished run, read without ground truth: whether its answers are what they are declared to be.

Of the annotations no box is looked at; which image a question is about decides on the size in
pixels, as it does when answers in pixels are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from migbench.boxes import Order
from migbench.checks.doctor.answers import Speech, Written, listen, written
from migbench.checks.doctor.conventions import described, flags
from migbench.checks.doctor.plausibility import Given, Numerals, numerals
from migbench.checks.doctor.verdict import Finding, Severity, habits, unanswered, unread
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
CORNERED = 90.0
DECIMALS = 50.0
SAME = 50.0
OTHER_ORDER_LEAD = 10.0
GROWS = 0.25
"""Percent per percent from which numbers are not relative; bounds of area slow pixels down."""
PIXELS_GROW = 0.5


class Plausibility(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's answers look like; ``numbers`` is None where no answer holds a box."""

    run: str
    model: Model
    speech: Speech
    numbers: Numerals | None
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing speaks against the declared convention."""
        return all(finding.severity is not Severity.PROBLEM for finding in self.findings)


def look_at_run(
    run: Run, *, annotations: Path | None = None, images: Images = None
) -> Plausibility:
    """Read a run's answers for what speaks against its dialect.

    ``annotations`` and ``images`` say where these are now, if they were moved. Without images, and
    where the run kept no sizes, pixels show by their range alone. Raises `DataError` where the
    annotation file is gone or another one.
    """
    settings = run.settings
    read = annotations_of(run, annotations)
    dialect = settings.model.dialect
    questions = questions_of(settings, read)
    lines = run.lines
    found = written(settings, questions, lines)
    clusters = [read.cluster_of(each.instance) for each in found]
    speech = listen(found, clusters, dialect)
    if speech.used != dialect.syntax:
        found = written(settings, questions, lines, speech.used)
    folder = image_folder(run, images)
    given = [
        Given(each.numbers, _size(each, folder.file if folder else None), cluster)
        for each, cluster in zip(found, clusters, strict=True)
        if each.numbers
    ]
    numbers = numerals(given, dialect.convention)
    errors = [each.line.error for each in found if each.line and each.line.error]
    return Plausibility(
        run=encodable(str(run.folder)),
        model=settings.model,
        speech=speech,
        numbers=numbers,
        findings=tuple(
            _findings(settings.model, PromptSet(settings.prompts), speech, numbers, errors)
        ),
    )


def _size(each: Written, image: Callable[[str], ImageFile] | None) -> Size | None:
    """The size of the image asked about, where the run kept it or the image is there."""
    target = each.instance.target_image
    if each.line and (size := each.line.size(target)) is not None:
        return size
    if image is None:
        return None
    try:
        return image(each.instance.images[target]).size()
    except ModelError:
        return None


def _findings(
    model: Model,
    prompts: PromptSet,
    speech: Speech,
    numbers: Numerals | None,
    errors: list[str],
) -> Iterator[Finding]:
    yield from unanswered(speech, errors)
    if speech.answered:
        yield from unread(model, speech)
    if numbers is None:
        yield _problem("No answer holds a box: nothing can be said of its numbers.")
        return
    if speech.used != speech.declared:
        yield _problem(
            f"Boxes are written in another syntax than declared: {', '.join(speech.used)}.",
            *flags(model.dialect, model.dialect.convention, speech.used, prompts, speech.samples),
        )
    found = against(model, numbers)
    yield from found
    if all(each.severity is not Severity.PROBLEM for each in found):
        yield Finding(
            severity=Severity.GOOD,
            text=f"Nothing in the numbers speaks against {described(model.dialect.convention)}. "
            "Whether it is right, only known boxes tell: migbench doctor --model",
        )
    yield from habits(speech)


def against(model: Model, numbers: Numerals) -> list[Finding]:
    """What in the numbers speaks against the model's convention."""
    return [
        *_range(model, numbers),
        *_places(numbers),
        *_order(model, numbers),
        *_growth(model, numbers),
    ]


def _range(model: Model, numbers: Numerals) -> Iterator[Finding]:
    """Numbers that are too large or too small for the declared scale."""
    convention = model.dialect.convention
    name = described(convention)
    if numbers.beyond:
        text = (
            f"{numbers.beyond:.1f} % of {numbers.n} boxes reach beyond the frame of {name}; the "
            f"largest number is {numbers.largest:g}."
        )
        if numbers.beyond < BEYOND:
            yield Finding(severity=Severity.NOTE, text=text)
        elif convention.scale is None:
            yield _problem(f"{text} Are they thousandths, or pixels of an image resized otherwise?")
        else:
            yield _problem(f"{text} Are they pixels, or of another scale?")
    if convention.scale != 1 and numbers.decimals >= DECIMALS:
        yield _problem(
            f"{numbers.decimals:.0f} % of the boxes hold no number above 1, though {name} is "
            "declared. Are they decimals in 0-1?"
        )


def _places(numbers: Numerals) -> Iterator[Finding]:
    if numbers.same >= SAME:
        box = ", ".join(f"{number:g}" for number in numbers.same_box)
        yield _problem(
            f"{numbers.same:.0f} % of the boxes are the same one ({box}): the model may be shown "
            "no images."
        )
    elif numbers.corner is not None and numbers.corner >= CORNERED:
        yield _problem(
            f"{numbers.corner:.0f} % of the boxes lie in the same corner of their images. Are the "
            "numbers smaller than declared: pixels of small images, or another scale?"
        )


def _order(model: Model, numbers: Numerals) -> Iterator[Finding]:
    """Whether boxes stand upright and inside in another order than the declared one alone."""
    if numbers.upright is None:
        return
    declared: Order = model.dialect.order
    mine = numbers.upright[declared]
    better = [
        order
        for order, share in numbers.upright.items()
        if share >= mine + OTHER_ORDER_LEAD and share >= CORNERED
    ]
    if better:
        others = " or ".join(f"{order} ({numbers.upright[order]:.0f} %)" for order in better)
        yield _problem(
            f"Only {mine:.0f} % of the boxes are upright and inside their images as {declared}; "
            f"more would be as {others}."
        )


def _growth(model: Model, numbers: Numerals) -> Iterator[Finding]:
    """Whether numbers grow with the images, as pixels do and relative numbers do not."""
    growth, convention = numbers.growth, model.dialect.convention
    if growth is None:
        if not numbers.sizes_known:
            yield Finding(
                severity=Severity.NOTE,
                text="Image sizes are not known, so pixels cannot be told from relative numbers by "
                "how they grow with the images: pass --images",
            )
        return
    says = f"{growth.value:.2f} % per % [{growth.low:.2f}, {growth.high:.2f}]"
    if convention.scale is not None and growth.low > GROWS:
        yield _problem(
            f"The numbers grow with the images ({says}), as pixels do; {described(convention)} "
            "would not."
        )
    elif convention.scale is None and growth.high < PIXELS_GROW:
        yield _problem(
            f"The numbers do not grow with the images ({says}), as pixels would: are they "
            "thousandths?"
        )


def _problem(text: str, *mend: str) -> Finding:
    return Finding(severity=Severity.PROBLEM, text=text, flags=mend)
