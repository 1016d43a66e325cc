"""Parsing an answer: the boxes in it, or the reason why there are none.

Three steps: the final part of the answer (`thoughts`), the boxes in it (`findings`), and the image
that each lies in (`labels`). A pure function of dialect, answer and image sizes, which never raises
on any text and never sees the ground truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migbench.asking.mentions import Mention, image_mentions, region_mentions
from migbench.boxes import Box
from migbench.dialects.dialect import Dialect
from migbench.dialects.failures import ParseFailure, Reason, explain
from migbench.dialects.findings import Findings, WrittenBox, find_boxes
from migbench.dialects.labels import Labels, Place, labels_from_attributes, labels_from_mentions
from migbench.dialects.syntax import plain
from migbench.dialects.thoughts import FinalPart, final_part
from migbench.errors import DataError
from migbench.messages import Size
from migbench.tasks import Noun


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box in an answer: in 0-1 of the original image, not clipped, corners not sorted.

    ``label`` is what the answer calls it by: the number, from 0, of an image, or of a region where
    the question asks for regions (None: nothing). ``start`` and ``end`` are its place in the text.
    """

    box: Box
    label: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What an answer gives: boxes in their order, or why there is none.

    ``reason`` says of an unreadable answer what it holds instead. ``named_image`` is the first
    image (from 0) that the answer's final part names at all.
    """

    boxes: tuple[FoundBox, ...] = ()
    failure: ParseFailure | None = None
    reason: Reason | None = None
    named_image: int | None = None

    def select_box(self, asked: int | None) -> FoundBox | None:
        """The box that bears the asked label, from 0, else the first."""
        labelled = (found for found in self.boxes if found.label == asked is not None)
        return next(labelled, self.boxes[0] if self.boxes else None)


def parse(
    dialect: Dialect,
    text: str,
    *,
    label_kind: Noun = Noun.IMAGE,
    truncated: bool = False,
    sizes: Sequence[Size] | None = None,
    default_images: Sequence[int] = (0,),
    image_is_asked: bool = False,
) -> ParsedAnswer:
    """Parse an answer in a dialect.

    ``sizes`` are the shown images' sizes in pixels, needed only where ``dialect.needs_size``.
    ``default_images`` are the images, from 0, in which boxes lie that name none, in their order;
    the last of them serves all further boxes. ``image_is_asked`` says that the question asks for
    one box in the one default image: then a box lies there unless it is labelled otherwise by a
    field of its own, or stands beside a box that is labelled with the asked image. ``label_kind``
    says what labels count: images, or regions, which lie in ``default_images`` too. Raises
    `DataError` where sizes are needed and not given.
    """
    if dialect.needs_size and sizes is None:
        raise DataError(
            f"dialect {dialect.name} counts in pixels: the images' sizes are needed; "
            "pass --images with the folder that holds them"
        )
    final = final_part_of(dialect, text, truncated=truncated)
    if final.is_thought:
        return _nothing_but_thought(truncated or final.is_cut)
    part = plain(text[final.start : final.end])
    findings = find_boxes(dialect, part)
    boxes = findings.boxes
    if truncated and boxes and _is_cut(boxes[-1], part):
        boxes.pop()
    mentions = _mentions(dialect, part, label_kind)
    named = mentions[0].image if mentions else None
    if not boxes:
        failure = explain(
            part,
            truncated=truncated,
            json=findings.json if findings.json.taken else None,
            has_polygon=findings.has_polygon,
        )
        return ParsedAnswer((), failure.failure, failure.reason, named)
    labelled = _labelled(dialect, part, findings, mentions, label_kind)
    if image_is_asked and label_kind is Noun.IMAGE:
        labelled = _in_asked_image(labelled, findings, mentions, default_images[0])
    if named is None:
        named = next((label for label in labelled.fields if label is not None), None)
    found = tuple(
        FoundBox(
            box.convention.to_unit(box.numbers, size),
            label,
            final.start + box.start,
            final.start + box.end,
        )
        for box, label, size in zip(
            boxes,
            labelled.labels,
            _sizes(labelled.lies_in, sizes, default_images, label_kind),
            strict=True,
        )
    )
    return ParsedAnswer(found, named_image=named)


def final_part_of(dialect: Dialect, text: str, *, truncated: bool = False) -> FinalPart:
    """The final part of an answer, by the dialect's thinking marks."""
    return final_part(
        text,
        dialect.thinking_marks,
        opened_by_template=dialect.thought_opened_by_template,
        truncated=truncated,
    )


def _nothing_but_thought(truncated: bool) -> ParsedAnswer:
    if truncated:
        return ParsedAnswer(failure=ParseFailure.TRUNCATED)
    return ParsedAnswer(failure=ParseFailure.UNREADABLE, reason=Reason.THOUGHT_ONLY)


def _is_cut(box: WrittenBox, text: str) -> bool:
    """Whether the token limit may have cut off digits of the box's last number."""
    return box.end == len(text) and text[-1] in "0123456789."


def _mentions(dialect: Dialect, text: str, kind: Noun) -> list[Mention]:
    if kind is Noun.IMAGE:
        return image_mentions(text, dialect.images_from)
    return region_mentions(text)


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What boxes are called (``labels``), and in which image that puts them (``lies_in``).

    ``fields`` are the labels that fields or attributes give, which nothing outweighs.
    """

    labels: Labels
    lies_in: Labels
    fields: Labels


def _labelled(
    dialect: Dialect, text: str, findings: Findings, mentions: list[Mention], kind: Noun
) -> _Labelled:
    boxes = findings.boxes
    places = [Place(box.start, box.end) for box in boxes]
    fields: Labels = [None] * len(boxes)
    if kind is Noun.IMAGE:
        attributes = labels_from_attributes(text, places, dialect.image_fields, dialect.images_from)
        fields = [
            box.image if box.image is not None else attribute
            for box, attribute in zip(boxes, attributes, strict=True)
        ]
    labels = fields
    if all(label is None for label in fields):
        labels = labels_from_mentions(text, places, mentions)
    return _Labelled(labels, labels, fields)


def _in_asked_image(
    labelled: _Labelled, findings: Findings, mentions: list[Mention], asked: int
) -> _Labelled:
    """The same where the question says which image it is about.

    Another image that a sentence or a label names is then the question's reference image, unless
    the box that was asked for is there too.
    """
    labels = list(labelled.labels)
    if asked in labels or any(label is not None for label in labelled.fields):
        return labelled
    if len(labels) == 1 and any(mention.image == asked for mention in mentions):
        return _Labelled([asked], [asked], labelled.fields)
    inside = _within_texts(findings, mentions)
    if inside:
        labels = [None if label in inside else label for label in labels]
    return _Labelled(labels, [None] * len(labels), labelled.fields)


def _within_texts(findings: Findings, mentions: list[Mention]) -> set[int]:
    """Images that labels in JSON alone name."""
    spans = iter(findings.json.texts)
    span = next(spans, None)
    within: set[int] = set()
    outside: set[int] = set()
    for mention in mentions:
        while span is not None and span.end <= mention.start:
            span = next(spans, None)
        is_within = span is not None and span.start <= mention.start
        (within if is_within else outside).add(mention.image)
    return within - outside


def _sizes(
    lies_in: Labels, sizes: Sequence[Size] | None, default_images: Sequence[int], kind: Noun
) -> Iterator[Size | None]:
    """For each box the size of the image that it lies in, where sizes are known."""
    remaining = iter(default_images)
    default = 0
    for label in lies_in:
        is_placed = kind is Noun.IMAGE and label is not None and label < len(sizes or ())
        if not is_placed:
            default = next(remaining, default)
        if sizes is None:
            yield None
        else:
            yield sizes[label if is_placed and label is not None else default]
