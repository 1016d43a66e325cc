"""Mixtures: which source the n-th example comes from, in exact proportions.

Shares are whole numbers (Table 12's percentages, for instance). They make blocks: in every block of
17 + 13 + 16 + 54 examples each source has exactly its share, in an order drawn for the block. So
the proportions hold over any stretch of a training, and the n-th example is known without the
ones before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migbench.errors import UsageError


class Draw(NamedTuple):
    """An example: number ``number`` of a source."""

    source: str
    number: int


@dataclass(frozen=True, slots=True)
class WeightedStage:
    """So many examples in fixed proportions."""

    examples: int
    shares: Mapping[str, int]


class Mixture:
    """Stages one after another; replayed sources go on where an earlier stage left them."""

    def __init__(self, stages: Sequence[WeightedStage], seed: int) -> None:
        """Raises `UsageError` for shares that are not whole numbers from 0 on, or all 0."""
        self._stages = [_Blocks(stage, seed, place) for place, stage in enumerate(stages)]
        self._taken: list[dict[str, int]] = [{}]
        for blocks in self._stages:
            before = self._taken[-1]
            taken = {name: blocks.taken(name, blocks.stage.examples) for name in blocks.names}
            self._taken.append(
                before | {name: n + before.get(name, 0) for name, n in taken.items()}
            )

    def __len__(self) -> int:
        return sum(blocks.stage.examples for blocks in self._stages)

    def totals(self) -> dict[str, int]:
        """How many examples of each source there are in all."""
        return dict(self._taken[-1])

    def draw(self, place: int) -> Draw:
        """The example at this place, from 0."""
        for blocks, taken in zip(self._stages, self._taken, strict=False):
            if place < blocks.stage.examples:
                name = blocks.name(place)
                return Draw(name, taken.get(name, 0) + blocks.taken(name, place))
            place -= blocks.stage.examples
        raise IndexError(place)


class _Blocks:
    """The blocks of one stage."""

    def __init__(self, stage: WeightedStage, seed: int, place: int) -> None:
        shares = stage.shares
        if any(share < 0 for share in shares.values()) or not any(shares.values()):
            raise UsageError(f"shares {dict(shares)}: whole numbers from 0 on, not all 0")
        self.stage = stage
        self.names = [name for name, share in shares.items() if share]
        self._block = np.repeat(np.arange(len(self.names)), [shares[name] for name in self.names])
        self._seed = (seed, place)

    def name(self, place: int) -> str:
        block, within = divmod(place, len(self._block))
        return self.names[int(_shuffled(self._seed, block, self._block.tobytes())[within])]

    def taken(self, name: str, place: int) -> int:
        """How many examples of this source stand before a place."""
        block, within = divmod(place, len(self._block))
        source = self.names.index(name)
        before = _shuffled(self._seed, block, self._block.tobytes())[:within]
        return block * self.stage.shares[name] + int(np.count_nonzero(before == source))


@lru_cache(maxsize=64)
def _shuffled(seed: tuple[int, int], block: int, sources: bytes) -> NDArray[np.int64]:
    rng = np.random.default_rng([*seed, block])
    return rng.permutation(np.frombuffer(sources, np.int64))
