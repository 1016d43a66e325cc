"""The images of an encoded example: where each lies among the tokens, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from migbench.boxes import Box
from migtrain.miniature.cell_labels import CellLabels, grid_cells, label_cells, shared_areas
from migtrain.miniature.encoding import Encoded, Encoder, Tokens
from migtrain.miniature.scenes import Example


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """One image: the ``places`` of its tokens, row by row, and what lies beneath each of them."""

    places: Tokens
    rows: int
    columns: int
    labels: CellLabels

    def objects(self) -> Tokens:
        """The tokens that show an object."""
        return self.places[self.labels.classes >= 0]

    def marked(self) -> Tokens:
        """The tokens that show what the red box marks."""
        return self.places[self.labels.marked > 0]

    def within(self, box: Box) -> Tokens:
        """The tokens that a box in 0-1 covers by a half, or, where there are none, covers most."""
        return self.places[covered_cells(box, self.rows, self.columns)]

    def kind_within(self, box: Box) -> int:
        """What most of the objects' tokens in a box show, -1 where there is no object."""
        kinds = self.labels.classes[covered_cells(box, self.rows, self.columns)]
        kinds = kinds[kinds >= 0]
        return int(np.bincount(kinds).argmax()) if len(kinds) else -1


def image_tokens_of(encoder: Encoder, example: Example, encoded: Encoded) -> list[ImageTokens]:
    """The images of an example, none where it does not know what they show."""
    lengths = [encoder.pixels.tokens(grid) for grid in encoded.grids]
    at = np.flatnonzero(encoded.tokens == encoder.image_id)
    split = np.split(at, np.cumsum(lengths)[:-1])
    sides = [encoder.pixels.cells(grid) for grid in encoded.grids]
    return [
        ImageTokens(places, *each, label_cells(objects, *each))
        for places, each, objects in zip(split, sides, example.objects, strict=False)
    ]


def covered_cells(box: Box, rows: int, columns: int) -> Tokens:
    """Which cells of a grid a box covers by a half, or, where there are none, covers most."""
    areas = shared_areas(grid_cells(rows, columns), np.array([box]))
    share = areas[:, 0] * rows * columns
    return np.flatnonzero(share >= min(0.5, share.max()))
