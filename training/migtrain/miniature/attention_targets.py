"""Attention targets: what the tokens of a drawn scene are to attend to, one step at a time.

To answer a question about several images takes several steps: a name is found in an image, an
object in another, and in the end the target. Each is known only where objects are: in scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from migtrain.miniature.cell_labels import CellLabels
from migtrain.miniature.encoding import (
    UNLABELLED,
    AttentionTarget,
    Encoded,
    Encoder,
    TargetType,
    Tokens,
)
from migtrain.miniature.image_tokens import ImageTokens, image_tokens_of
from migtrain.miniature.references import NOTHING, find_reference, find_target
from migtrain.miniature.scenes import Example

NOWHERE = np.array([0])
"""The very first token, to be attended to where there is nothing to be found."""

_PICTURE = re.compile(r"Picture \d+: ?<\|vision_start\|>\Z")
_PICTURE_TOKENS = 16
"""What stands before an image, ``Picture 1: ``, has at most so many tokens."""


class AttentionTargetEncoder:
    """Encodes examples, with their attention targets."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._box, self._box_end, self._name, self._end = (
            encoder.token_id(token)
            for token in ("<|box_start|>", "<|box_end|>", "<|object_ref_end|>", "<|im_end|>")
        )
        self._digits = np.array([encoder.token_id(str(digit)) for digit in range(10)])

    def __call__(self, example: Example) -> Encoded:
        """The example as `Encoder.encode` has it, and its targets."""
        encoded = self._encoder.encode(example.conversation, example.images)
        images = image_tokens_of(self._encoder, example, encoded)
        targets = (
            *self._pictures(encoded, images),
            *_likes(images),
            *self._answers(encoded, example, images),
        )
        return replace(encoded, targets=targets)

    def _pictures(
        self, encoded: Encoded, images: Sequence[ImageTokens]
    ) -> Iterator[AttentionTarget]:
        """An image attends to the number that the chat gives it, if it does."""
        for image in images:
            start = int(image.places[0])
            before = slice(max(0, start - _PICTURE_TOKENS), start)
            if _PICTURE.search(self._encoder.tokenizer.decode(encoded.tokens[before])):
                number = self._last_digit(encoded.tokens, before.start, start)
                yield AttentionTarget(TargetType.PICTURE, image.places, number)

    def _answers(
        self, encoded: Encoded, example: Example, images: Sequence[ImageTokens]
    ) -> Iterator[AttentionTarget]:
        """The tokens of a box attend to the reference of its target, and to the target."""
        is_answer = encoded.labels != UNLABELLED
        starts = np.flatnonzero((encoded.tokens == self._box) & is_answer)
        stops = np.flatnonzero((encoded.tokens == self._box_end) & is_answer)
        names = np.flatnonzero((encoded.tokens == self._name) & ~is_answer)
        ends = np.flatnonzero(encoded.tokens == self._end)
        kind = example.conversation.kind
        targets = [each for turn in example.conversation.rounds for each in turn.targets]
        for start, stop, target in zip(starts, stops, targets, strict=False):  # a long talk is cut
            if target.image is None or not images:
                continue
            *_, before, asked = (-1, -1, *ends[ends < start])
            name = names[(names > before) & (names < asked)][-1:]
            number = self._number(encoded, int(before) + 1, int(asked), int(start))
            digit = self._digit(encoded, number)
            queries = np.arange(start, stop)
            keys = find_target(kind, images, target)
            reference = find_reference(kind, images, target, digit, name)
            if len(number):
                yield AttentionTarget(TargetType.NUMBER, queries, number)
            if len(reference):
                yield AttentionTarget(TargetType.REFERENCE, queries, reference)
            if len(name):
                yield AttentionTarget(TargetType.NAME, name, keys)
            yield AttentionTarget(TargetType.ANSWER, queries, keys)

    def _number(self, encoded: Encoded, before: int, asked: int, start: int) -> Tokens:
        """The digit that says which image or region a box is for: the answer's own, or asked."""
        opened = start
        while encoded.labels[opened - 1] != UNLABELLED and encoded.tokens[opened - 1] != self._box:
            opened -= 1
        if opened < start:
            return self._last_digit(encoded.tokens, opened, start)
        digits = before + np.flatnonzero(np.isin(encoded.tokens[before:asked], self._digits))
        for place in digits[::-1]:
            after = self._encoder.tokenizer.decode(encoded.tokens[place + 1 : place + 3])
            if after.startswith("th"):
                return np.array([place])
        return NOTHING

    def _last_digit(self, tokens: Tokens, start: int, stop: int) -> Tokens:
        return start + np.flatnonzero(np.isin(tokens[start:stop], self._digits))[-1:]

    def _digit(self, encoded: Encoded, place: Tokens) -> int | None:
        if not len(place):
            return None
        return int(np.flatnonzero(self._digits == encoded.tokens[place[0]])[0])


def _likes(images: Sequence[ImageTokens]) -> Iterator[AttentionTarget]:
    """An object attends to those in earlier images that are like it, or nowhere."""
    for target_type, likeness in _LIKENESSES:
        seen: dict[tuple[int, ...], list[Tokens]] = {}
        for number, image in enumerate(images):
            places, alike = image.objects(), likeness(image.labels)[image.labels.classes >= 0]
            for appearance in np.unique(alike, axis=0):
                queries = places[(alike == appearance).all(axis=1)]
                before = seen.setdefault(tuple(appearance.tolist()), [])
                if number:
                    keys = np.concatenate(before) if before else NOWHERE
                    yield AttentionTarget(target_type, queries, keys)
                before.append(queries)


def _kinds(labels: CellLabels) -> Tokens:
    return labels.classes[:, None]


def _colours(labels: CellLabels) -> Tokens:
    return labels.colours[:, None]


def _both(labels: CellLabels) -> Tokens:
    return np.stack([labels.classes, labels.colours], axis=1)


_LIKENESSES = ((TargetType.KIND, _kinds), (TargetType.COLOUR, _colours), (TargetType.MATCH, _both))
