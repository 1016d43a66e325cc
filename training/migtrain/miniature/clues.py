"""Clues: what in an image set tells which thing is meant, task by task.

To find a target takes two looks: one at what is sought, a marked thing say, and one at where that
is. The first is known as well as the second, in scenes, and is told here. A name in the question is
the clue wherever there is one, and a difference between two images has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np

from migbench.mini.conversations import GroundedBox
from migtrain.miniature.encoding import Tokens
from migtrain.miniature.shown import Shown

NOTHING = np.array([], np.int64)

Clue = Callable[[Sequence[Shown], GroundedBox, int | None], Tokens]
"""(images, target, the number asked for if there is one) -> the tokens that tell what is meant."""


def _alone(images: Sequence[Shown], target: GroundedBox, number: int | None) -> Tokens:
    return images[0].things()


def _marked(images: Sequence[Shown], target: GroundedBox, number: int | None) -> Tokens:
    return images[0].marked()


def _alike(images: Sequence[Shown], target: GroundedBox, number: int | None) -> Tokens:
    assert target.image is not None
    kind = images[target.image].kind_within(target.box)
    return np.concatenate([image.places[image.labels.meanings == kind] for image in images])


def _cutting(images: Sequence[Shown], target: GroundedBox, number: int | None) -> Tokens:
    if number is None or number >= len(images):
        return NOTHING
    things = images[number].things()
    return things if len(things) else images[number].places


CLUES: MappingProxyType[str, Clue] = MappingProxyType(
    {
        "common_object": _alike,
        "object_tracking": _marked,
        "multi_view": _marked,
        "region": _cutting,
        "refer_grounding": _alone,
        "reasoning": _alone,
        "correspondence": _marked,
    }
)


def find_clue(
    kind: str, images: Sequence[Shown], target: GroundedBox, number: int | None, name: Tokens
) -> Tokens:
    """What tells which thing is meant: no tokens where nothing does, or nothing is known to.

    ``name`` are the tokens of the question that name it, if any do.
    """
    if len(name):
        return name
    clue = CLUES.get(kind)
    return clue(images, target, number) if clue else NOTHING


def find_target(kind: str, images: Sequence[Shown], target: GroundedBox) -> Tokens:
    """The tokens that show a target.

    What `diff` took away shows in the first image only, whose tokens cannot know of the second:
    there its place counts as well.
    """
    assert target.image is not None
    found = [images[target.image].within(target.box)]
    if kind == "diff" and target.image == 0:
        found += [image.within(target.box) for image in images[1:]]
    return np.concatenate(found)
