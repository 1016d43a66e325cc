"""Reading an answer: the boxes in it, or the reason why there are none.

Only the final answer part is read: inside ``<answer>``, after ``</think>``, or the whole text
where there is neither. Readers never raise on any text, and never see the ground truth.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from migbench.boxes import Box
from migbench.dialects.dialect import Dialect
from migbench.dialects.mentions import Mention, image_mentions, region_mentions
from migbench.dialects.refusals import is_refusal
from migbench.dialects.syntax import box_pattern, plain
from migbench.errors import DataError
from migbench.messages import Size
from migbench.tasks import Noun


class Unread(StrEnum):
    """Why an answer gave no box; the first that applies."""

    TRUNCATED = "truncated"
    """The token limit was reached before a box was complete."""
    REFUSED = "refused"
    """The model says that it cannot, or that there is nothing to find."""
    UNREADABLE = "unreadable"
    """No box in the declared syntax."""


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
class Reading:
    """What was read from an answer: boxes in their order, or the reason for none.

    ``named_image`` is the first image (from 0) that the answer's final part names at all.
    """

    boxes: tuple[FoundBox, ...] = ()
    unread: Unread | None = None
    named_image: int | None = None

    def choose(self, asked: int | None) -> FoundBox | None:
        """The box that bears the asked label, from 0, else the first."""
        labelled = (found for found in self.boxes if found.label == asked is not None)
        return next(labelled, self.boxes[0] if self.boxes else None)


def read(
    dialect: Dialect,
    text: str,
    *,
    noun: Noun = Noun.IMAGE,
    truncated: bool = False,
    sizes: Sequence[Size] | None = None,
    lies_in: Sequence[int] = (0,),
) -> Reading:
    """Read an answer in a dialect.

    ``sizes`` are the shown images' sizes in pixels, needed only where
    ``dialect.convention.needs_size``; ``lies_in`` says, from 0, in which images boxes without an
    image of their own lie, in their order, the last of them for all further ones. ``noun`` says
    what labels count: images, or regions, which lie in ``lies_in`` too. Raises `DataError` where
    sizes are needed and not given.
    """
    if dialect.convention.needs_size and sizes is None:
        raise DataError(
            f"dialect {dialect.name} counts in pixels: the images' sizes are needed; "
            "pass --images with the folder that holds them"
        )
    start, end = final_part(text)
    part = plain(text[start:end])
    matches = list(box_pattern(dialect.syntax).finditer(part))
    if truncated and matches and _is_cut(matches[-1]):
        matches.pop()
    mentions = image_mentions(part) if noun is Noun.IMAGE else region_mentions(part)
    named = mentions[0].image if mentions else None
    if not matches:
        return Reading(unread=unread_reason(part, truncated=truncated), named_image=named)
    found = []
    unplaced = iter(lies_in)
    image = 0
    for match, label in zip(matches, _labels(matches, mentions), strict=True):
        numbers = [float(number) for number in match.groups() if number is not None]
        is_placed = noun is Noun.IMAGE and label is not None and label < len(sizes or ())
        if not is_placed:
            image = next(unplaced, image)
        size = sizes[label if is_placed and label is not None else image] if sizes else None
        box = dialect.convention.to_unit(numbers, size)
        found.append(FoundBox(box, label, start + match.start(), start + match.end()))
    return Reading(tuple(found), named_image=named)


_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINK_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_ANSWER_START = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_END = re.compile(r"</answer>", re.IGNORECASE)


def final_part(text: str) -> tuple[int, int]:
    """Start and end of the part of an answer that is final.

    The last ``<answer>`` after the last ``</think>``; else what follows that; else the whole text.
    A thought that never ends leaves no final part, unless an ``<answer>`` stands in it.
    """
    start = 0
    for thought in _THINK_END.finditer(text):
        start = thought.end()
    answers = list(_ANSWER_START.finditer(text, start))
    if answers:
        start = answers[-1].end()
        closing = _ANSWER_END.search(text, start)
        return start, closing.start() if closing else len(text)
    unfinished = _THINK_START.search(text, start)
    return start, unfinished.start() if unfinished else len(text)


def _is_cut(match: re.Match[str]) -> bool:
    """Whether the token limit may have cut off digits of the box's last number."""
    return match.end() == len(match.string) and match.group()[-1] in "0123456789."


Labels = Sequence[int | None]
"""For each box the image that the answer puts it in."""


def _labels(matches: Sequence[re.Match[str]], mentions: Sequence[Mention]) -> Labels:
    """From inside the boxes' JSON objects where these hold any label, else by nearness."""
    if not mentions:
        return [None] * len(matches)
    inside = _labels_inside_objects(matches, mentions)
    return inside if any(label is not None for label in inside) else _labels_near(matches, mentions)


def _labels_inside_objects(matches: Sequence[re.Match[str]], mentions: Sequence[Mention]) -> Labels:
    """From ``{"bbox_2d": [...], "image": 2}``: what stands in the same braces as the box alone."""
    starts = [mention.start for mention in mentions]
    labels: list[int | None] = []
    for match, (before, after) in zip(matches, _gaps(matches), strict=True):
        opening = match.string.rfind("{", before, match.start())
        closing = match.string.find("}", match.end(), after)
        near = mentions[bisect_left(starts, opening) : bisect_left(starts, closing)]
        labels.append(near[0].image if near and opening >= 0 else None)
    return labels


def _labels_near(matches: Sequence[re.Match[str]], mentions: Sequence[Mention]) -> Labels:
    """From the text around the boxes; a mention belongs to one box alone.

    An answer names images either before its boxes ("Image-1: (...)") or after them ("(...) in the
    first image"); its first box tells which.
    """
    labels_come_first = any(mention.start < matches[0].start() for mention in mentions)
    starts = [mention.start for mention in mentions]
    labels: list[int | None] = []
    for match, (before, after) in zip(matches, _gaps(matches), strict=True):
        if labels_come_first:
            near = mentions[bisect_left(starts, before) : bisect_left(starts, match.start())][-1:]
        else:
            near = mentions[bisect_left(starts, match.end()) : bisect_left(starts, after)][:1]
        labels.append(near[0].image if near else None)
    return labels


def _gaps(matches: Sequence[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """For each box where the one before it ends and where the one after it starts."""
    ends = [0, *(match.end() for match in matches[:-1])]
    starts = [*(match.start() for match in matches[1:]), len(matches[0].string)]
    return zip(ends, starts, strict=True)


def unread_reason(text: str, *, truncated: bool) -> Unread:
    """Why an answer without a box has none."""
    if truncated:
        return Unread.TRUNCATED
    return Unread.REFUSED if is_refusal(text) else Unread.UNREADABLE
