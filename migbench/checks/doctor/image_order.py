"""Whether the model knows which image is which, from the places of its boxes.

In a set of several images every image holds one object, each at a place of its own, so a box tells
which image it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from migbench.boxes import Box, Convention, iou
from migbench.checks.doctor.answers import Numbers, percent
from migbench.checks.doctor.scenes import Kind
from migbench.messages import Size
from migbench.scoring.uncertainty import Interval

LOCALISED_AT = 0.3
"""From this IoU on, a box is at an image's object."""
EXPLAINED = 0.8
"""A pattern explains the boxes if this share of them follows it."""
MIXED = 0.2
"""Images are mixed up where more than one box, and at least this share, is at another's object."""

PATTERNS: Mapping[str, Callable[[int, int], int]] = {
    "always the first image's": lambda asked, count: 0,
    "always the last image's": lambda asked, count: count - 1,
    "those of the images in reverse order": lambda asked, count: count - 1 - asked,
    "those of the image after the asked one": lambda asked, count: (asked + 1) % count,
    "those of the image before the asked one": lambda asked, count: (asked - 1) % count,
}
"""Wrong ways to choose the image, from 0, when one of several is asked for."""


@dataclass(frozen=True, slots=True)
class MultiImageQuery:
    """One question about one image of a set, and its answer.

    ``objects`` has each image's size and the box of its object. ``asked`` is the image, from 0,
    that holds the target; ``named`` the one that the answer names in words, if any.
    """

    kind: Kind
    objects: tuple[tuple[Size, Box], ...]
    asked: int
    numbers: Numbers | None
    named: int | None
    cluster: int

    def localised(self, convention: Convention) -> int | None:
        """The image at whose object the box is; pixels are taken as that image's own."""
        if self.numbers is None:
            return None
        overlaps = [
            float(iou(convention.to_unit(self.numbers, size), box)) for size, box in self.objects
        ]
        best = int(np.argmax(overlaps))
        return best if overlaps[best] >= LOCALISED_AT else None


class LocalisationCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Boxes at the asked image's object, at another's, and at neither, for one kind of question.

    ``share`` is that of the first among the first two, in percent, with its interval. ``pattern``
    explains the boxes at other images' objects.
    """

    kind: Kind
    n: int
    right: int
    other: int
    neither: int
    share: float | None
    interval: Interval | None
    pattern: str | None

    @property
    def is_mixed(self) -> bool:
        """Whether images are mixed up."""
        return self.other >= 2 and self.other >= MIXED * (self.right + self.other)

    @property
    def is_unclear(self) -> bool:
        """Whether too few boxes are at any object to say."""
        return 2 * (self.right + self.other) < self.n


class ImageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Counts by kind of question; how many answers name an image in words, and the right one."""

    counts: tuple[LocalisationCounts, ...]
    named: int
    named_right: int


def check_image_order(
    queries: Sequence[MultiImageQuery], convention: Convention
) -> ImageOrder | None:
    """Boxes under this convention by image; None without sets of several images."""
    if not queries:
        return None
    named = [query for query in queries if query.named is not None]
    return ImageOrder(
        counts=tuple(
            _count(kind, [each for each in queries if each.kind is kind], convention)
            for kind in dict.fromkeys(query.kind for query in queries)
        ),
        named=len(named),
        named_right=sum(query.named == query.asked for query in named),
    )


def _count(
    kind: Kind, queries: Sequence[MultiImageQuery], convention: Convention
) -> LocalisationCounts:
    images = [(query, query.localised(convention)) for query in queries]
    localised = [(query, image) for query, image in images if image is not None]
    right = [query.asked == image for query, image in localised]
    share, interval = percent(right, [query.cluster for query, _ in localised])
    return LocalisationCounts(
        kind=kind,
        n=len(queries),
        right=sum(right),
        other=len(localised) - sum(right),
        neither=len(queries) - len(localised),
        share=share,
        interval=interval,
        pattern=None if all(right) else _pattern(localised),
    )


def _pattern(localised: Sequence[tuple[MultiImageQuery, int]]) -> str | None:
    for name, expected in PATTERNS.items():
        follow = [expected(each.asked, len(each.objects)) == image for each, image in localised]
        if sum(follow) >= EXPLAINED * len(localised):
            return name
    return None
