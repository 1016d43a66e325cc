"""Where to look: what the tokens of a drawn scene are to attend to, said one step at a time.

To answer a question about several images takes several looks: a name is found in an image, a thing
in another, and in the end the target. Each can be told only where things are known: in scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from migtrain.miniature.clues import NOTHING, find_clue, find_target
from migtrain.miniature.encoding import UNLABELLED, Aim, Encoded, Encoder, Look, Tokens
from migtrain.miniature.labels import CellLabels
from migtrain.miniature.shown import Shown, shown_images
from migtrain.miniature.sources import Example

NOWHERE = np.array([0])
"""The very first token, to be looked at where there is nothing to be found."""

_PICTURE = re.compile(r"Picture \d+: ?<\|vision_start\|>\Z")
_PICTURE_TOKENS = 16
"""What stands before an image, ``Picture 1: ``, has at most so many tokens."""


class LookingEncoder:
    """Encodes examples, with what their tokens are to look at."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._box, self._box_end, self._name, self._end = (
            encoder.token_id(token)
            for token in ("<|box_start|>", "<|box_end|>", "<|object_ref_end|>", "<|im_end|>")
        )
        self._digits = np.array([encoder.token_id(str(digit)) for digit in range(10)])

    def __call__(self, example: Example) -> Encoded:
        """The example as `Encoder.encode` has it, and its looks."""
        encoded = self._encoder.encode(example.conversation, example.images)
        images = shown_images(self._encoder, example, encoded)
        looks = (
            *self._pictures(encoded, images),
            *_likes(images),
            *self._answers(encoded, example, images),
        )
        return replace(encoded, looks=looks)

    def _pictures(self, encoded: Encoded, images: Sequence[Shown]) -> Iterator[Look]:
        """An image looks at the number that the chat gives it, if it does."""
        for image in images:
            start = int(image.places[0])
            before = slice(max(0, start - _PICTURE_TOKENS), start)
            if _PICTURE.search(self._encoder.tokenizer.decode(encoded.tokens[before])):
                number = self._last_digit(encoded.tokens, before.start, start)
                yield Look(Aim.PICTURE, image.places, number)

    def _answers(
        self, encoded: Encoded, example: Example, images: Sequence[Shown]
    ) -> Iterator[Look]:
        """The tokens of a box look at what tells its target, and at that."""
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
            by = np.arange(start, stop)
            at = find_target(kind, images, target)
            clue = find_clue(kind, images, target, digit, name)
            if len(number):
                yield Look(Aim.NUMBER, by, number)
            if len(clue):
                yield Look(Aim.CLUE, by, clue)
            if len(name):
                yield Look(Aim.NAME, name, at)
            yield Look(Aim.ANSWER, by, at)

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


def _likes(images: Sequence[Shown]) -> Iterator[Look]:
    """A thing looks at those in earlier images that are like it, or nowhere."""
    for aim, likeness in _LIKENESSES:
        seen: dict[tuple[int, ...], list[Tokens]] = {}
        for number, image in enumerate(images):
            places, alike = image.things(), likeness(image.labels)[image.labels.meanings >= 0]
            for look in np.unique(alike, axis=0):
                by = places[(alike == look).all(axis=1)]
                before = seen.setdefault(tuple(look.tolist()), [])
                if number:
                    yield Look(aim, by, np.concatenate(before) if before else NOWHERE)
                before.append(by)


def _kinds(labels: CellLabels) -> Tokens:
    return labels.meanings[:, None]


def _colours(labels: CellLabels) -> Tokens:
    return labels.colours[:, None]


def _both(labels: CellLabels) -> Tokens:
    return np.stack([labels.meanings, labels.colours], axis=1)


_LIKENESSES = ((Aim.KIND, _kinds), (Aim.COLOUR, _colours), (Aim.MATCH, _both))
