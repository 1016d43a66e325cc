"""Whether the model knows which image is which, from where its boxes lie.

In a set of several images every image holds one thing, each at a place of its own, so a box tells
which image was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from migbench.boxes import Box, Convention, iou
from migbench.checks.doctor.answers import Numbers
from migbench.checks.doctor.scenes import Kind
from migbench.messages import Size
from migbench.scoring.uncertainty import Interval, Sums, accuracy_interval

PLACED_AT = 0.3
"""From this IoU on, a box lies at an image's thing."""
EXPLAINED = 0.8
"""A pattern explains where boxes lie if this share of them follows it."""
MIXED = 0.2
"""Images are mixed up where certainly more than nothing, and at least this share, lie elsewhere."""

PATTERNS: Mapping[str, Callable[[int, int], int]] = {
    "always the first image's": lambda asked, count: 0,
    "always the last image's": lambda asked, count: count - 1,
    "those of the images in reverse order": lambda asked, count: count - 1 - asked,
    "those of the image after the asked one": lambda asked, count: (asked + 1) % count,
    "those of the image before the asked one": lambda asked, count: (asked - 1) % count,
}
"""Which image is looked at, from 0, when one of several is asked for: ways to go wrong."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of a set: its size, and the box of its thing."""

    size: Size
    thing: Box


@dataclass(frozen=True, slots=True)
class Search:
    """One question about one image of a set, and what came of it.

    ``asked`` is the image, from 0, that holds the target; ``named`` the one that the answer names
    in words, if any.
    """

    kind: Kind
    images: tuple[Shown, ...]
    asked: int
    numbers: Numbers | None
    named: int | None
    cluster: int


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Where the boxes of one kind of question lie: at the asked image's thing, another's, or none.

    ``share`` is that of the first among the first two, in percent, with its interval.
    """

    kind: Kind
    n: int
    right: int
    other: int
    nowhere: int
    share: float | None
    interval: Interval | None
    pattern: str | None
    """What explains the boxes that lie at other images' things."""

    @property
    def is_mixed(self) -> bool:
        """Whether images are mixed up."""
        placed = self.right + self.other
        return self.other >= 2 and self.other >= MIXED * placed

    @property
    def is_unclear(self) -> bool:
        """Whether too few boxes lie at any thing to say."""
        return 2 * (self.right + self.other) < self.n


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Both kinds of question; and how many answers name an image in words, and the right one."""

    placed: tuple[Placed, ...]
    named: int
    named_right: int


def identify(searches: Sequence[Search], convention: Convention) -> Identity | None:
    """Where the boxes lie, read under this convention; None without sets of several images."""
    if not searches:
        return None
    kinds = dict.fromkeys(search.kind for search in searches)
    named = [search for search in searches if search.named is not None]
    return Identity(
        placed=tuple(
            _place([each for each in searches if each.kind is kind], kind, convention)
            for kind in kinds
        ),
        named=len(named),
        named_right=sum(search.named == search.asked for search in named),
    )


def _place(searches: Sequence[Search], kind: Kind, convention: Convention) -> Placed:
    looked = [(search, _looked_at(search, convention)) for search in searches]
    placed = [(search, image) for search, image in looked if image is not None]
    right = [search.asked == image for search, image in placed]
    shares = Sums.of(right, [search.cluster for search, _ in placed]) if placed else None
    return Placed(
        kind=kind,
        n=len(searches),
        right=sum(right),
        other=len(placed) - sum(right),
        nowhere=len(searches) - len(placed),
        share=100 * shares.mean if shares else None,
        interval=accuracy_interval(shares) if shares else None,
        pattern=_pattern(placed),
    )


def _looked_at(search: Search, convention: Convention) -> int | None:
    """The image, from 0, at whose thing the box lies; numbers in pixels are taken as its own."""
    if search.numbers is None:
        return None
    overlaps = [
        float(iou(convention.to_unit(search.numbers, shown.size), shown.thing))
        for shown in search.images
    ]
    best = int(np.argmax(overlaps))
    return best if overlaps[best] >= PLACED_AT else None


def _pattern(placed: Sequence[tuple[Search, int]]) -> str | None:
    if all(search.asked == image for search, image in placed):
        return None
    for name, expected in PATTERNS.items():
        follow = [expected(each.asked, len(each.images)) == image for each, image in placed]
        if sum(follow) >= EXPLAINED * len(placed):
            return name
    return None
