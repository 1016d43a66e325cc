"""In which image, or region, an answer puts its boxes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from migbench.asking.mentions import Mention, image_of_field

Labels = Sequence[int | None]
"""For each box the image that the answer puts it in, from 0."""


class Place(NamedTuple):
    """Where in a text a box stands."""

    start: int
    end: int


def labels_from_mentions(text: str, places: Sequence[Place], mentions: Sequence[Mention]) -> Labels:
    """From inside the boxes' JSON objects where these hold any label, else by nearness."""
    if not mentions:
        return [None] * len(places)
    inside = _labels_inside_objects(text, places, mentions)
    if any(label is not None for label in inside):
        return inside
    return _labels_near(text, places, mentions)


def _labels_inside_objects(
    text: str, places: Sequence[Place], mentions: Sequence[Mention]
) -> Labels:
    """From ``{"bbox_2d": [...], "label": "image 2"}``: what stands in the box's braces alone."""
    starts = [mention.start for mention in mentions]
    labels: list[int | None] = []
    for place, (before, after) in zip(places, _gaps(text, places), strict=True):
        opening = text.rfind("{", before, place.start)
        closing = text.find("}", place.end, after)
        near = mentions[bisect_left(starts, opening) : bisect_left(starts, closing)]
        labels.append(near[0].image if near and opening >= 0 else None)
    return labels


def _labels_near(text: str, places: Sequence[Place], mentions: Sequence[Mention]) -> Labels:
    """From the text around the boxes; a mention belongs to one box alone.

    An answer names images either before its boxes ("Image-1: (...)") or after them ("(...) in the
    first image"); its first box tells which.
    """
    labels_come_first = any(mention.start < places[0].start for mention in mentions)
    starts = [mention.start for mention in mentions]
    labels: list[int | None] = []
    for place, (before, after) in zip(places, _gaps(text, places), strict=True):
        if labels_come_first:
            near = mentions[bisect_left(starts, before) : bisect_left(starts, place.start)][-1:]
        else:
            near = mentions[bisect_left(starts, place.end) : bisect_left(starts, after)][:1]
        labels.append(near[0].image if near else None)
    return labels


def _gaps(text: str, places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """For each box where the one before it ends and where the one after it starts."""
    ends = [0, *(place.end for place in places[:-1])]
    starts = [*(place.start for place in places[1:]), len(text)]
    return zip(ends, starts, strict=True)


def labels_from_attributes(
    text: str, places: Sequence[Place], names: tuple[str, ...], first: int
) -> Labels:
    """From the attribute of the element around a box: ``<collection asset_idx="0">``.

    An attribute holds up to its element's end, or the next such attribute.
    """
    labels: list[int | None] = [None] * len(places)
    if not names:
        return labels
    starts = [place.start for place in places]
    for element in _elements(names).finditer(text):
        image = image_of_field(element.group(2), element.group(3), first, names)
        following = _elements(names).search(text, element.end())
        end = following.start() if following else len(text)
        closing = text.find(f"</{element.group(1)}>", element.end(), end)
        last = closing if closing >= 0 else end
        for number in range(bisect_left(starts, element.end()), bisect_left(starts, last)):
            labels[number] = image
    return labels


@cache
def _elements(names: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(map(re.escape, names))
    return re.compile(
        rf"<(\w{{1,40}})\b[^<>]{{0,400}}?\b({either})\s{{0,8}}=\s{{0,8}}[\"']?(\d{{1,2}})"
        r"[\"']?[^<>]{0,400}>",
        re.IGNORECASE | re.ASCII,
    )
