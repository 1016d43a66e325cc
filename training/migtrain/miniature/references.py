"""References: the evidence in an image set that tells which object is meant, task by task.

To find a target takes two steps of attention, one to the reference (a marked object, say) and one
to where that is. Both are known in scenes. A name in the question is the reference where there is
one, and a difference between two images has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np

from migbench.mini.conversations import GroundedBox
from migtrain.miniature.encoding import Tokens
from migtrain.miniature.image_tokens import ImageTokens

NOTHING = np.array([], np.int64)

FindReference = Callable[[Sequence[ImageTokens], GroundedBox, int | None], Tokens]
"""(images, target, the number asked for if there is one) -> the tokens that tell what is meant."""


def _alone(images: Sequence[ImageTokens], target: GroundedBox, number: int | None) -> Tokens:
    return images[0].objects()


def _marked(images: Sequence[ImageTokens], target: GroundedBox, number: int | None) -> Tokens:
    return images[0].marked()


def _alike(images: Sequence[ImageTokens], target: GroundedBox, number: int | None) -> Tokens:
    assert target.image is not None
    kind = images[target.image].kind_within(target.box)
    return np.concatenate([image.places[image.labels.classes == kind] for image in images])


def _cutting(images: Sequence[ImageTokens], target: GroundedBox, number: int | None) -> Tokens:
    if number is None or number >= len(images):
        return NOTHING
    objects = images[number].objects()
    return objects if len(objects) else images[number].places


REFERENCES: MappingProxyType[str, FindReference] = MappingProxyType(
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


def find_reference(
    kind: str, images: Sequence[ImageTokens], target: GroundedBox, number: int | None, name: Tokens
) -> Tokens:
    """What tells which object is meant: no tokens where nothing does, or nothing is known to.

    ``name`` are the tokens of the question that name it, if any do.
    """
    if len(name):
        return name
    reference = REFERENCES.get(kind)
    return reference(images, target, number) if reference else NOTHING


def find_target(kind: str, images: Sequence[ImageTokens], target: GroundedBox) -> Tokens:
    """The tokens that show a target.

    What `diff` took away shows in the first image only, whose tokens cannot know of the second:
    there its place counts as well.
    """
    assert target.image is not None
    found = [images[target.image].within(target.box)]
    if kind == "diff" and target.image == 0:
        found += [image.within(target.box) for image in images[1:]]
    return np.concatenate(found)
