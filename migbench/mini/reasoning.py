"""Task `reasoning`: a rule in words, what it applies to in image 1, the thing it yields in image 2.

One function a rule; each plans a scene in which exactly one thing follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np

from migbench.messages import Size
from migbench.mini.backdrops import random_backdrop
from migbench.mini.layout import (
    choose,
    choose_one,
    first_valid,
    lures,
    random_sides,
    random_size,
    scatter,
    scatter_looks,
)
from migbench.mini.scene import Ask, Box, Item, Look, Page, Plan
from migbench.mini.splits import Split, named_looks

SUFFIX = " Find it and locate it in the second image. "

SAME_COLOUR = "Which object in Image-2 has the colour of the object in Image-1 but another shape?"
SAME_SHAPE = "Which object in Image-2 has the shape of the object in Image-1 but another colour?"
NEWCOMER = "All objects of Image-1 came to Image-2 and brought one along. Which is the new one?"
NEXT_IN_ROW = (
    "The objects in Image-1 take turns from left to right. Which object in Image-2 is next?"
)
DIRECTION = "Which object in Image-2 lies farthest in the direction of the arrow in Image-1?"
EXTREME = "Of the objects in Image-2 with the colour of the object in Image-1, which is the {word}?"

DIRECTIONS = MappingProxyType({0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)})
"""Turn of the arrow, in degrees clockwise from the right -> where it points, x and y."""

Rule = Callable[[np.random.Generator, Sequence[Look]], Plan]


def reasoning(rng: np.random.Generator, split: Split) -> Plan:
    """One of the rules, each as likely as the others."""
    return RULES[str(rng.choice(list(RULES)))](rng, named_looks(split))


def same_colour(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """The answer shares image 1's colour; beside it stands something of image 1's shape."""
    clue = choose_one(rng, pool)
    return _analogy(rng, pool, clue, SAME_COLOUR, answer=1)


def same_shape(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """The answer shares image 1's shape; beside it stands something of image 1's colour."""
    clue = choose_one(rng, pool)
    return _analogy(rng, pool, clue, SAME_SHAPE, answer=0)


def _analogy(
    rng: np.random.Generator, pool: Sequence[Look], clue: Look, wording: str, answer: int
) -> Plan:
    related = lures(rng, pool, clue, 2)
    unrelated = [look for look in pool if look.kind != clue.kind and look.colour != clue.colour]
    others = choose(rng, unrelated, int(rng.integers(1, 4)), avoid=related)
    return _plan(rng, [clue], [*related, *others], wording, answer)


def newcomer(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """Image 2 holds image 1's things, elsewhere, and one more."""
    old = choose(rng, pool, int(rng.integers(2, 5)))
    return _plan(rng, old, [choose(rng, pool, 1, avoid=old)[0], *old], NEWCOMER, answer=0)


def next_in_row(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """Image 1 shows A B A B, A B A B A or A B C A B: image 2 holds each once, and one more."""
    looks = choose(rng, pool, 4)
    period, length = [(2, 4), (2, 5), (3, 5)][int(rng.integers(3))]
    row = [looks[place % period] for place in range(length)]
    size = Size(int(rng.integers(288, 337)), int(rng.integers(112, 129)))
    cell = size.width / length
    side = min(cell, size.height) * rng.uniform(0.72, 0.85)
    items = [
        Item(look, Box.around(cell * (place + 0.5), size.height / 2, side, side))
        for place, look in enumerate(row)
    ]
    second = _page(rng, [*looks[:3], looks[3]])
    return _asked(
        Page(size, random_backdrop(rng), tuple(items)), second, NEXT_IN_ROW, length % period
    )


def direction(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """The arrow of image 1 points to one side; one thing of image 2 is clearly nearest to it."""
    turn = int(rng.choice(list(DIRECTIONS)))
    x, y = DIRECTIONS[turn]
    arrow = choose_one(rng, [look for look in pool if look.kind == "arrow"])
    looks = choose(rng, [look for look in pool if look.kind != "arrow"], int(rng.integers(3, 6)))

    def propose() -> Page | None:
        page = _page(rng, looks)
        reach = [item.box.centre[0] * x + item.box.centre[1] * y for item in page.items]
        clearance = 0.14 * (page.size.width * abs(x) + page.size.height * abs(y))
        return page if reach[0] > max(reach[1:]) + clearance else None

    second = first_valid(propose)
    first = _page(rng, [arrow], (0.4, 0.5))
    pointing = Item(arrow, first.items[0].box, float(turn))
    return _asked(Page(first.size, first.backdrop, (pointing,)), second, DIRECTION, 0)


def extreme(rng: np.random.Generator, pool: Sequence[Look]) -> Plan:
    """The largest or smallest thing of image 1's colour; one of another colour goes farther."""
    clue = choose_one(rng, pool)
    alike = choose(rng, [look for look in pool if look.colour == clue.colour], 2, avoid=[clue])
    others = choose(rng, [look for look in pool if look.colour != clue.colour], 2)
    word, shares = (
        ("largest", [(0.27, 0.3), (0.17, 0.2), (0.34, 0.37), (0.18, 0.25)]),
        ("smallest", [(0.22, 0.24), (0.34, 0.37), (0.165, 0.175), (0.2, 0.25)]),
    )[int(rng.integers(2))]

    def propose() -> Page | None:
        size = random_size(rng, (170, 225), stretch=1.2)
        looks = [*alike, *others]
        sides = [
            random_sides(rng, size, look.kind, share)
            for look, share in zip(looks, shares, strict=True)
        ]
        boxes = scatter(rng, size, sides)
        items = tuple(
            Item(look, box, float(rng.uniform(-8, 8)))
            for look, box in zip(looks, boxes, strict=True)
        )
        large, small = boxes[:2] if word == "largest" else (boxes[1], boxes[0])
        return Page(size, random_backdrop(rng), items) if large.area > 1.7 * small.area else None

    first = _page(rng, [clue], (0.4, 0.5))
    return _asked(first, first_valid(propose), EXTREME.replace("{word}", word), 0)


RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "same colour": same_colour,
        "same shape": same_shape,
        "newcomer": newcomer,
        "next in row": next_in_row,
        "direction": direction,
        "extreme": extreme,
    }
)


def _plan(
    rng: np.random.Generator,
    first: Sequence[Look],
    second: Sequence[Look],
    wording: str,
    answer: int,
) -> Plan:
    share = (0.4, 0.5) if len(first) == 1 else (0.22, 0.32)
    return _asked(_page(rng, first, share), _page(rng, second), wording, answer)


def _page(
    rng: np.random.Generator, looks: Sequence[Look], share: tuple[float, float] = (0.18, 0.3)
) -> Page:
    size = random_size(rng, (125, 165) if len(looks) == 1 else (160, 225), 1.6)
    return Page(size, random_backdrop(rng), tuple(scatter_looks(rng, size, looks, share)))


def _asked(first: Page, second: Page, wording: str, answer: int) -> Plan:
    return Plan((first, second), (Ask(wording + SUFFIX, 1, (answer,), wording),))
