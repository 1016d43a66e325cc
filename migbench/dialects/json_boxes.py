"""Boxes in an answer's JSON: under a declared key, or by the names of their corners."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from migbench.dialects.lenient_json import (
    JsonArray,
    JsonField,
    JsonObject,
    JsonValue,
    find_objects,
    path_to_root,
)
from migbench.dialects.syntax import NUMBER, CornerNames, Corners, named_corners

KNOWN_KEYS = (
    "bbox_2d",
    "box_2d",
    "bbox",
    "box",
    "bboxes",
    "boxes",
    "bounding_box",
    "bounding_boxes",
    "bounding_box_2d",
)
"""Keys under which models write boxes; letter case, spaces and underscores do not matter."""
_POINT_KEYS = frozenset({"point2d", "point", "points", "points2d", "center", "keypoint"})
_POLYGON_KEYS = frozenset({"polygon", "poly", "segmentation", "quad", "polygon2d", "vertices"})
_PRESENCE_KEYS = frozenset({"found", "exists", "present", "visible", "detected"})
_NUMBER = re.compile(rf"(?<![\w.])({NUMBER})(?![\w.])", re.ASCII)
_NOTHING = frozenset({"", "none", "null", "n/a", "[]", "not found", "nan"})

ImageOf = Callable[[str, JsonValue], int | None]
"""The image, from 0, that a key and its value name, if they do."""


@dataclass(frozen=True, slots=True)
class JsonBox:
    """Four numbers. ``by_name`` says that they are ``x1, y1, x2, y2``, or with two sizes.

    ``image`` is the one, from 0, that a field of the box's object names.
    """

    numbers: tuple[float, ...]
    start: int
    end: int
    image: int | None
    by_name: bool = False
    is_size: bool = False


class Span(NamedTuple):
    """A part of a text."""

    start: int
    end: int


@dataclass(slots=True)
class JsonFindings:
    """What an answer's JSON holds. ``taken`` are the objects in which nothing else is a box."""

    boxes: list[JsonBox] = field(default_factory=list)
    taken: list[Span] = field(default_factory=list)
    has_nothing: bool = False
    """A key of boxes has an empty value, or all values of an object are empty lists."""
    has_point: bool = False
    has_polygon: bool = False
    texts: list[Span] = field(default_factory=list)
    """Values that are texts, such as labels, unless they name the image of a box."""


def read_json(
    text: str, keys: Iterable[str], corners: Sequence[CornerNames], image_of: ImageOf
) -> JsonFindings:
    """Everything that an answer's JSON says of boxes; `find_objects` tells what is understood."""
    findings = JsonFindings()
    if "{" not in text:
        return findings
    names = frozenset(map(_plain_key, keys))
    images: dict[int, int | None] = {}
    for each in find_objects(text):
        images[id(each)] = _own_image(each, image_of)
        if _read_object(each, names, corners, image_of, images, findings):
            *_, root = path_to_root(each)
            if not findings.taken or root.start >= findings.taken[-1].end:
                findings.taken.append(Span(root.start, root.end))
    findings.boxes.sort(key=lambda box: box.start)
    return findings


def _plain_key(key: str) -> str:
    return "".join(sign for sign in key.lower() if sign.isalnum())


def _read_object(
    inner: JsonObject,
    names: frozenset[str],
    corners: Sequence[CornerNames],
    image_of: ImageOf,
    images: dict[int, int | None],
    findings: JsonFindings,
) -> bool:
    """Add what an object says of boxes; whether it says anything.

    ``images`` has the images that objects name, by their ids.
    """
    around = (images.get(id(each)) for each in path_to_root(inner))
    image = next((each for each in around if each is not None), None)
    found = [
        JsonBox(each.numbers, each.start, each.end, image, True, each.is_size)
        for each in _corners(inner, corners)
    ]
    is_known = bool(found)
    for each in inner.fields:
        if isinstance(each.value, str) and image_of(each.key, each.value) is None:
            findings.texts.append(Span(each.start, each.end))
        key = _plain_key(each.key)
        named = image_of(each.key, None)
        if key in names or named is not None:
            boxes = list(_boxes(each))
            found += [
                JsonBox(numbers, start, end, image if named is None else named)
                for numbers, start, end in boxes
            ]
            is_empty = _is_empty(each.value)
            findings.has_nothing |= is_empty
            findings.has_polygon |= key in names and not boxes and _is_polygon(each.value)
            findings.has_point |= key in names and not boxes and _is_pair(each.value)
            is_known |= bool(boxes) or is_empty
        elif key in _POINT_KEYS and not _is_empty(each.value):
            findings.has_point = is_known = True
        elif key in _POLYGON_KEYS and not _is_empty(each.value):
            findings.has_polygon = is_known = True
    findings.has_nothing |= all(_is_empty_list(each.value) for each in inner.fields)
    findings.has_nothing |= any(
        each.value is False and _plain_key(each.key) in _PRESENCE_KEYS for each in inner.fields
    )
    findings.boxes += found
    return is_known


def _own_image(inner: JsonObject, image_of: ImageOf) -> int | None:
    """From a field of the object itself, or the key under which it stands."""
    for one in inner.fields:
        if not isinstance(one.value, JsonArray | JsonObject | None):
            image = image_of(one.key, one.value)
            if image is not None:
                return image
    return image_of(inner.key, None) if inner.key else None


def _corners(inner: JsonObject, corners: Sequence[CornerNames]) -> Iterator[Corners]:
    named: dict[str, float] = {}
    ends = [inner.start]
    for each in inner.fields:
        number = _number(each.value)
        if number is not None:
            named[each.key.lower()] = number
            ends.append(each.end)
    if len(named) >= 4 and (box := named_corners(named, corners)) is not None:
        end = inner.end if inner.closed else max(ends)
        yield Corners(*box, inner.start, end)


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return value
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        return float(match.group())
    return None


def _boxes(one: JsonField) -> Iterator[tuple[tuple[float, ...], int, int]]:
    """Boxes in the value of a key, with their places."""
    if isinstance(one.value, str):
        numbers = [float(number) for number in _NUMBER.findall(one.value[:400])]
        if len(numbers) == 4:
            yield tuple(numbers), one.start, one.end
    elif isinstance(one.value, JsonArray):
        if (numbers_of := _four(one.value)) is not None:
            yield numbers_of, one.value.start, one.value.end
            return
        for item in one.value.items:
            if isinstance(item, JsonArray) and (numbers_of := _four(item)) is not None:
                yield numbers_of, item.start, item.end


def _four(array: JsonArray) -> tuple[float, ...] | None:
    """Four numbers, or two pairs of them; none of a list that was cut off."""
    if not array.closed:
        return None
    items = array.items
    pairs = [each.items for each in items if isinstance(each, JsonArray) and len(each.items) == 2]
    if len(items) == len(pairs) == 2:
        items = [*pairs[0], *pairs[1]]
    numbers = [number for each in items if (number := _number(each)) is not None]
    return tuple(numbers) if len(numbers) == len(items) == 4 else None


def _is_empty(value: JsonValue) -> bool:
    """Whether a value says that there is nothing: null, an empty list, a list of nulls."""
    if isinstance(value, JsonArray):
        return value.closed and all(each is None or _is_empty_list(each) for each in value.items)
    return value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING)


def _is_empty_list(value: JsonValue) -> bool:
    return isinstance(value, JsonArray) and not value.items


def _is_pair(value: JsonValue) -> bool:
    return (
        isinstance(value, JsonArray)
        and value.closed
        and len(value.items) == 2
        and all(_number(each) is not None for each in value.items)
    )


def _is_polygon(value: JsonValue) -> bool:
    """Whether a list holds more corners than two."""
    if not isinstance(value, JsonArray):
        return False
    numbers = [each for each in value.items if _number(each) is not None]
    pairs = [each for each in value.items if isinstance(each, JsonArray) and len(each.items) == 2]
    return (len(numbers) >= 6 and len(numbers) % 2 == 0) or len(pairs) >= 3
