"""Task `group_grounding`: a description that fits one thing in a whole group of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from migbench.messages import Size
from migbench.mini.backdrops import random_backdrop
from migbench.mini.layout import (
    choose,
    first_valid,
    random_sides,
    random_size,
    scatter,
    scatter_looks,
)
from migbench.mini.scene import Ask, Item, Look, Page, Plan
from migbench.mini.splits import Split, named_looks

WORDINGS = (
    "Please find the bounding box coordinates for the area described by: {phrase}.",
    "Identify the bounding box of the region described by the following expression: {phrase}.",
    "Please locate the bounding box of the region described in this sentence: {phrase}.",
    "Please determine the bounding box coordinates for the area described here: {phrase}.",
    "Please specify the bounding box coordinates for the region indicated by this sentence: "
    "{phrase}.",
    "Please provide the bounding box coordinate of the region this sentence describes: {phrase}.",
    "Provide the bounding box of the region this expression refers to: {phrase}.",
    "Give the bounding box of the region that this sentence refers to: {phrase}.",
    "Provide the bounding box coordinates for the region referred to by this sentence: {phrase}.",
    "Give the bounding box coordinates of the area mentioned in this sentence: {phrase}.",
    "Please identify the bounding box coordinates for the area described by this sentence: "
    "{phrase}.",
)
"""All eleven wordings of MIG_data.json."""
ORDINALS = ("first", "second", "third", "fourth", "fifth")

SMALL, LARGE = 0.22, 0.31
"""A thing is small up to, and large from, this share of its image's longer side."""


def size_word(item: Item, size: Size) -> str:
    """How large the thing is beside its image: small, large, or nothing to speak of."""
    share = item.box.area**0.5 / max(size)
    if share <= SMALL:
        return "small"
    return "large" if share >= LARGE else ""


def describe(look: Look, size_word: str = "") -> str:
    """``a small red star``, ``an orange house``."""
    words = f"{size_word} {look.name}".strip()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def group_grounding(rng: np.random.Generator, split: Split) -> Plan:
    """Three to five images with two to four things each, one of every image asked for.

    No look occurs twice in the group, but for a pair in one image of every second group: one small,
    one large, told apart by that word. Others are called small or large at times, where they are.
    """
    pool = named_looks(split)
    count = int(rng.integers(3, 6))
    paired_page = int(rng.integers(count)) if rng.random() < 0.5 else None
    amounts = [int(amount) for amount in rng.integers(2, 5, count)]
    looks = choose(rng, pool, sum(amounts))
    pages: list[Page] = []
    asks: list[Ask] = []
    for place, amount in enumerate(amounts):
        here, looks = looks[:amount], looks[amount:]
        paired = place == paired_page
        size, items = _pair_among(rng, here) if paired else _scene(rng, here)
        target = int(rng.integers(2 if paired else len(items)))
        word = size_word(items[target], size) if paired or rng.random() < 0.5 else ""
        phrase = f"<|object_ref_start|>{describe(items[target].look, word)}<|object_ref_end|>"
        pages.append(Page(size, random_backdrop(rng), tuple(items)))
        asks.append(
            Ask(
                str(rng.choice(WORDINGS)).replace("{phrase}", phrase),
                place,
                (target,),
                f"It is in the {ORDINALS[place]} image. {{answer}}. ",
            )
        )
    return Plan(tuple(pages), tuple(asks))


def name_all(rng: np.random.Generator, pages: Sequence[Page]) -> tuple[Ask, ...]:
    """One question for every thing of some pages, told apart by its size where another looks alike.

    For training, where one group may teach more than it is asked about in a test.
    """
    looks = Counter(item.look for page in pages for item in page.items)
    asks = []
    for place, page in enumerate(pages):
        for number, item in enumerate(page.items):
            word = size_word(item, page.size)
            word = word if looks[item.look] > 1 or rng.random() < 0.3 else ""
            phrase = f"<|object_ref_start|>{describe(item.look, word)}<|object_ref_end|>"
            wording = str(rng.choice(WORDINGS)).replace("{phrase}", phrase)
            asks.append(Ask(wording, place, (number,)))
    return tuple(asks)


def _scene(rng: np.random.Generator, looks: list[Look]) -> tuple[Size, list[Item]]:
    size = random_size(rng)
    return size, scatter_looks(rng, size, looks, (0.18, 0.36))


def _pair_among(rng: np.random.Generator, looks: list[Look]) -> tuple[Size, list[Item]]:
    """The first look twice, small and large, then the others."""

    def propose() -> tuple[Size, list[Item]] | None:
        size = random_size(rng, stretch=1.25)
        shares = [(0.17, 0.2), (0.34, 0.38), *[(0.18, 0.28)] * (len(looks) - 1)]
        boxes = scatter(
            rng,
            size,
            [
                random_sides(rng, size, look.kind, share)
                for look, share in zip([looks[0], *looks], shares, strict=True)
            ],
        )
        items = [
            Item(look, box, float(rng.uniform(-8, 8)))
            for look, box in zip([looks[0], *looks], boxes, strict=True)
        ]
        words = [size_word(item, size) for item in items[:2]]
        return (size, items) if words == ["small", "large"] else None

    return first_valid(propose)
