"""Everything in the final part of an answer that may be a box, in the dialect's declared ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from migbench.asking.mentions import image_of_field, image_of_key
from migbench.boxes import Convention, Order
from migbench.dialects.dialect import Dialect, Form
from migbench.dialects.json_boxes import JsonFindings, read_json
from migbench.dialects.lenient_json import JsonValue
from migbench.dialects.syntax import Syntax, Ways, find_attributes, find_matches


@dataclass(frozen=True, slots=True)
class WrittenBox:
    """Four numbers as they stand, and the convention in which they do.

    ``image`` is the one, from 0, that a field of the box's own object names.
    """

    numbers: tuple[float, ...]
    start: int
    end: int
    convention: Convention
    image: int | None = None


@dataclass(slots=True)
class Findings:
    """Boxes from left to right, none within another, and what the answer's JSON holds."""

    boxes: list[WrittenBox] = field(default_factory=list)
    json: JsonFindings = field(default_factory=JsonFindings)
    has_polygon: bool = False


def find_boxes(dialect: Dialect, text: str) -> Findings:
    """Search a text, which is plain (`migbench.dialects.syntax.plain`)."""
    findings = Findings()
    boxes: list[WrittenBox] = []
    for form in dialect.forms:
        boxes += _of_form(dialect, form, text, findings)
    boxes.sort(key=lambda box: (box.start, -box.end))
    last = 0
    for box in boxes:
        if box.start >= last:
            findings.boxes.append(box)
            last = box.end
    return findings


def _of_form(dialect: Dialect, form: Form, text: str, findings: Findings) -> Iterator[WrittenBox]:
    if Syntax.JSON in form.syntax:
        findings.json = json_findings(dialect, text)
        for each in findings.json.boxes:
            convention = form.convention
            if each.by_name:
                convention = _named(convention, each.is_size)
            yield WrittenBox(each.numbers, each.start, each.end, convention, each.image)
    ways = Ways(form.syntax, dialect.brackets, dialect.tags)
    matches = find_matches(text, ways)
    findings.has_polygon |= matches.has_polygon
    spans = _Spans(findings.json)
    for match in matches.boxes:
        if not spans.hold(match.start):
            yield WrittenBox(match.numbers, match.start, match.end, form.convention)
    if Syntax.ATTRIBUTES in form.syntax:
        spans = _Spans(findings.json)
        for each_named in find_attributes(text, dialect.all_corners):
            if not spans.hold(each_named.start):
                convention = _named(form.convention, each_named.is_size)
                yield WrittenBox(each_named.numbers, each_named.start, each_named.end, convention)


class _Spans:
    """The objects that nothing else is read from, asked about from left to right."""

    def __init__(self, json: JsonFindings) -> None:
        self._spans = iter(json.taken)
        self._next = next(self._spans, None)

    def hold(self, position: int) -> bool:
        """Whether a position, not before the last one asked about, lies in one of them."""
        while self._next is not None and self._next.end <= position:
            self._next = next(self._spans, None)
        return self._next is not None and self._next.start <= position


def _named(convention: Convention, is_size: bool) -> Convention:
    """The convention of numbers whose names say what they are."""
    return replace(convention, order=Order.XYWH if is_size else Order.XYXY)


def json_findings(dialect: Dialect, text: str) -> JsonFindings:
    """What a text's JSON holds, under the dialect's keys and names."""

    def image_of(key: str, value: JsonValue) -> int | None:
        if value is None:
            return image_of_key(key, dialect.images_from)
        if isinstance(value, bool) or not isinstance(value, str | float):
            return None
        return image_of_field(key, value, dialect.images_from, dialect.image_fields)

    return read_json(text, dialect.keys, dialect.all_corners, image_of)
