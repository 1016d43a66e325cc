"""Task `correspondence`: which part of another thing does the same job.

A handle is held, a lid closes, wheels roll. Training and test scenes show different things.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from migbench.mini.backdrops import random_backdrop
from migbench.mini.layout import EDGE, random_size
from migbench.mini.scene import Ask, Box, Item, Look, Page, Plan
from migbench.mini.shapes import COLOURS
from migbench.mini.splits import Split

CORRESPONDENCE = (
    "You are now presented with two objects. For the area marked by the red bounding box in the "
    "first image, identify and locate the corresponding area in the second image that serves a "
    "similar function or shares a similar meaning. "
)

BODY = "body"
FUNCTIONS = ("handle", "lid", "wheels")


@dataclass(frozen=True, slots=True)
class Piece:
    """An outline at its place in a composite, in 0-1 of its width and height.

    Pieces with the same ``job`` are one part: two wheels, say.
    """

    job: str
    outline: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Composite:
    """Pieces from back to front, and the ratio of width to height."""

    ratio: float
    pieces: tuple[Piece, ...]

    @property
    def functions(self) -> frozenset[str]:
        """The jobs that its parts do, but for the body."""
        return frozenset(piece.job for piece in self.pieces) - {BODY}


def _wheels(*lefts: float, width: float, top: float) -> tuple[Piece, ...]:
    return tuple(Piece("wheels", "wheel", left, top, left + width, 1.0) for left in lefts)


TRAIN: MappingProxyType[str, Composite] = MappingProxyType(
    {
        "mug": Composite(
            1.0,
            (
                Piece("handle", "grip right", 0.60, 0.36, 1.0, 0.86),
                Piece(BODY, "block", 0.05, 0.24, 0.68, 1.0),
                Piece("lid", "lid flat", 0.0, 0.0, 0.73, 0.3),
            ),
        ),
        "saucepan": Composite(
            1.45,
            (
                Piece("handle", "rod rising", 0.56, 0.16, 1.0, 0.66),
                Piece(BODY, "tub", 0.0, 0.34, 0.66, 1.0),
                Piece("lid", "lid dome", 0.02, 0.0, 0.64, 0.38),
            ),
        ),
        "wagon": Composite(
            1.3,
            (
                Piece("handle", "rod falling", 0.0, 0.0, 0.36, 0.52),
                Piece(BODY, "block", 0.26, 0.34, 1.0, 0.76),
                *_wheels(0.3, 0.7, width=0.27, top=0.64),
            ),
        ),
        "chest": Composite(
            1.1,
            (
                Piece(BODY, "block", 0.04, 0.36, 0.96, 0.84),
                Piece("lid", "lid dome", 0.0, 0.0, 1.0, 0.4),
                *_wheels(0.1, 0.62, width=0.28, top=0.7),
            ),
        ),
        "pram": Composite(
            1.1,
            (
                Piece("handle", "rod rising", 0.64, 0.0, 1.0, 0.46),
                Piece(BODY, "bowl", 0.0, 0.32, 0.78, 0.8),
                *_wheels(0.04, 0.42, width=0.31, top=0.66),
            ),
        ),
        "bin": Composite(
            0.82,
            (
                Piece("handle", "grip right", 0.62, 0.3, 1.0, 0.68),
                Piece(BODY, "tub", 0.04, 0.22, 0.76, 0.92),
                Piece("lid", "lid flat", 0.0, 0.0, 0.8, 0.26),
                *_wheels(0.08, 0.42, width=0.31, top=0.74),
            ),
        ),
    }
)

TEST: MappingProxyType[str, Composite] = MappingProxyType(
    {
        "teapot": Composite(
            1.35,
            (
                Piece("handle", "grip right", 0.72, 0.34, 1.0, 0.86),
                Piece(BODY, "spout left", 0.0, 0.32, 0.32, 0.8),
                Piece(BODY, "ball", 0.18, 0.24, 0.82, 1.0),
                Piece("lid", "lid dome", 0.3, 0.0, 0.7, 0.34),
            ),
        ),
        "coffee pot": Composite(
            1.15,
            (
                Piece("handle", "rod rising", 0.66, 0.18, 1.0, 0.64),
                Piece(BODY, "pail", 0.08, 0.26, 0.8, 1.0),
                Piece("lid", "lid flat", 0.16, 0.0, 0.72, 0.32),
            ),
        ),
        "wheelbarrow": Composite(
            1.4,
            (
                Piece("handle", "rod rising", 0.54, 0.0, 1.0, 0.5),
                Piece(BODY, "tray", 0.0, 0.2, 0.7, 0.74),
                *_wheels(0.14, width=0.29, top=0.58),
            ),
        ),
        "grill": Composite(
            0.9,
            (
                Piece(BODY, "bowl", 0.02, 0.36, 0.98, 0.84),
                Piece("lid", "lid dome", 0.02, 0.0, 0.98, 0.4),
                *_wheels(0.14, 0.54, width=0.32, top=0.72),
            ),
        ),
        "suitcase": Composite(
            0.72,
            (
                Piece("handle", "hoop", 0.2, 0.0, 0.8, 0.34),
                Piece(BODY, "block", 0.0, 0.24, 1.0, 0.88),
                *_wheels(0.06, 0.6, width=0.34, top=0.76),
            ),
        ),
    }
)

COMPOSITES: MappingProxyType[Split, MappingProxyType[str, Composite]] = MappingProxyType(
    {"test": TEST, "train": TRAIN}
)


def correspondence(rng: np.random.Generator, split: Split) -> Plan:
    """Two different composites with a part of the same job; that of the first is marked."""
    things = COMPOSITES[split]
    job = str(rng.choice(FUNCTIONS))
    able = [name for name, thing in things.items() if job in thing.functions]
    first, second = (things[able[place]] for place in rng.permutation(len(able))[:2])
    pages = (_page(rng, first, job, marked=True), _page(rng, second, job, marked=False))
    return Plan(pages, (Ask(CORRESPONDENCE, 1, _part(second, job)),))


def _part(thing: Composite, job: str) -> tuple[int, ...]:
    return tuple(place for place, piece in enumerate(thing.pieces) if piece.job == job)


def _page(rng: np.random.Generator, thing: Composite, job: str, marked: bool) -> Page:
    """The composite alone, facing left or right, each part in a colour of its own."""
    size = random_size(rng, (150, 215), 1.35)
    height = rng.uniform(0.72, 0.9) * min(size.height, size.width / thing.ratio) - 2 * EDGE
    width = height * thing.ratio
    left = rng.uniform(EDGE, size.width - EDGE - width)
    top = rng.uniform(EDGE, size.height - EDGE - height)
    mirrored = bool(rng.random() < 0.5)
    colours = rng.permutation(list(COLOURS))
    worn = {name: str(colour) for name, colour in zip((BODY, *FUNCTIONS), colours, strict=False)}
    items = []
    for piece in thing.pieces:
        near, far = (1 - piece.right, 1 - piece.left) if mirrored else (piece.left, piece.right)
        box = Box(
            round(left + near * width),
            round(top + piece.top * height),
            round(left + far * width),
            round(top + piece.bottom * height),
        )
        items.append(Item(Look(piece.outline, worn[piece.job]), box, mirrored=mirrored))
    marks = _part(thing, job) if marked else ()
    return Page(size, random_backdrop(rng), tuple(items), marked=marks)
