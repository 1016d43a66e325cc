"""Where to look: what the tokens of a drawn scene are to attend to, said one step at a time.

To answer a question about several images takes several looks: a name is found in an image, a thing
in another, and in the end the target. Each can be told only where things are known: in scenes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from migbench.boxes import Box
from migbench.training.conversations import Target
from migbench.training.encoding import UNLABELLED, Aim, Encoded, Encoder, Look, Tokens
from migbench.training.labels import Thing, grid_cells, label_cells, shared_areas
from migbench.training.sources import Example

OPENING = 2
"""The tokens of a box before its first digit: ``<|box_start|>`` and ``(``."""
NOWHERE = np.array([0])
"""The very first token, to be looked at where there is nothing to be found."""


class LookingEncoder:
    """Encodes examples, with what their tokens are to look at."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._pixels = encoder.pixels
        self._box, self._name, self._end = (
            encoder.token_id(token)
            for token in ("<|box_start|>", "<|object_ref_end|>", "<|im_end|>")
        )

    def __call__(self, example: Example) -> Encoded:
        """The example as `Encoder.encode` has it, and its looks."""
        encoded = self._encoder.encode(example.conversation, example.images)
        cells = self._cells(encoded)
        targets = [each for turn in example.conversation.exchanges for each in turn.targets]
        looks = (*self._answers(encoded, targets, cells), *self._matches(encoded, example, cells))
        return replace(encoded, looks=looks)

    def _cells(self, encoded: Encoded) -> list[Tokens]:
        """The places of each image's tokens."""
        lengths = [self._pixels.tokens(grid) for grid in encoded.grids]
        places = np.flatnonzero(encoded.tokens == self._encoder.image_id)
        return np.split(places, np.cumsum(lengths)[:-1])

    def _answers(
        self, encoded: Encoded, targets: Sequence[Target], cells: Sequence[Tokens]
    ) -> Iterator[Look]:
        """A box that begins looks at its target; so does the name that the question gives."""
        is_answer = encoded.labels != UNLABELLED
        starts = np.flatnonzero((encoded.tokens == self._box) & is_answer)
        names = np.flatnonzero((encoded.tokens == self._name) & ~is_answer)
        ends = np.flatnonzero(encoded.tokens == self._end)
        for start, target in zip(starts, targets, strict=False):  # a long talk is cut short
            if target.image is None:
                continue
            sides = self._pixels.cells(encoded.grids[target.image])
            at = cells[target.image][covered_cells(target.box, *sides)]
            yield Look(Aim.ANSWER, np.arange(start, start + OPENING), at)
            *_, before, asked = (-1, -1, *ends[ends < start])
            if len(name := names[(names > before) & (names < asked)]):
                yield Look(Aim.NAME, name[-1:], at)

    def _matches(
        self, encoded: Encoded, example: Example, cells: Sequence[Tokens]
    ) -> Iterator[Look]:
        """A thing looks at those in earlier images that look the same, or nowhere."""
        seen: dict[tuple[int, int], list[Tokens]] = {}
        shown = zip(cells, example.things, encoded.grids, strict=False)
        for image, (places, things, grid) in enumerate(shown):
            for look, by in _by_look(things, places, *self._pixels.cells(grid)):
                before = seen.setdefault(look, [])
                if image:
                    yield Look(Aim.MATCH, by, np.concatenate(before) if before else NOWHERE)
                before.append(by)


def _by_look(
    things: Sequence[Thing], places: Tokens, rows: int, columns: int
) -> Iterator[tuple[tuple[int, int], Tokens]]:
    """The kinds and colours that an image shows, and which of its tokens show them."""
    labels = label_cells(things, rows, columns)
    looks = np.stack([labels.meanings, labels.colours], axis=1)
    for meaning, colour in np.unique(looks[labels.meanings >= 0], axis=0):
        yield (int(meaning), int(colour)), places[(looks == (meaning, colour)).all(axis=1)]


def covered_cells(box: Box, rows: int, columns: int) -> Tokens:
    """Which cells of a grid a box covers by a half, or, where there are none, covers most."""
    areas = shared_areas(grid_cells(rows, columns), np.array([box]))
    share = areas[:, 0] * rows * columns
    return np.flatnonzero(share >= min(0.5, share.max()))
