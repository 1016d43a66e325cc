"""What the test split shows that the training split never does.

- Scenes of the two splits come from disjoint streams of random numbers.
- Where questions need no names, test scenes hold `NOVEL` kinds only and training scenes
  `FAMILIAR` ones only.
- Where questions name kinds and colours, both splits use the familiar kinds, so that a trained
  model knows the words, but no combination of kind and colour occurs in both.
- Composite objects are divided one by one (see `migbench.mini.composites`).
"""

from __future__ import annotations

import zlib
from typing import Literal, get_args

import numpy as np

from migbench.errors import UsageError
from migbench.mini.scene import Look
from migbench.mini.shapes import COLOURS, FAMILIAR, NOVEL

Split = Literal["test", "train"]
SPLITS: tuple[Split, ...] = get_args(Split)


def stream(seed: int, split: Split, task: str, index: int) -> np.random.Generator:
    """The random numbers of one image set: nothing else that is rendered moves them.

    Raises `UsageError` for a negative seed or an unknown split.
    """
    if split not in SPLITS:
        raise UsageError(f"MIG-Mini has no split {split!r}; choose {' or '.join(SPLITS)}")
    if seed < 0:
        raise UsageError(f"the seed is {seed}; choose a whole number from 0 on")
    return np.random.default_rng([seed, SPLITS.index(split), zlib.crc32(task.encode()), index])


def nameless_looks(split: Split) -> tuple[Look, ...]:
    """Looks for scenes whose questions name nothing: the kinds of the splits are disjoint."""
    kinds = NOVEL if split == "test" else FAMILIAR
    return tuple(Look(kind, colour) for kind in kinds for colour in COLOURS)


def named_looks(split: Split) -> tuple[Look, ...]:
    """Looks for scenes whose questions use words: every fourth combination is kept for the test.

    In both splits each kind comes in at least two colours and each colour in at least four kinds.
    """
    return tuple(
        Look(kind, colour)
        for row, kind in enumerate(FAMILIAR)
        for column, colour in enumerate(COLOURS)
        if ((row + column) % 4 == 0) == (split == "test")
    )
