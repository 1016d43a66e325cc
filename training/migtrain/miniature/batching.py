"""Bucketing by image count: examples that are alike in length share a batch, and little is padding.

The examples of one optimiser step are sorted by the number of their images and dealt out in
batches. A step so keeps the mixture's proportions whatever the order, and where several GPUs each
work on a batch, they work on batches of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


class StepwiseOrder:
    """The places of all examples, step by step, sorted within each step.

    ``size`` tells how many images the example at a place shows. Examples of one size keep their
    order. As a sampler for a data loader it yields single places.
    """

    def __init__(self, steps: int, batch: int, size: Callable[[int], tuple[int, str]]) -> None:
        self._steps = steps
        self._batch = batch
        self._size = size

    def __len__(self) -> int:
        return self._steps * self._batch

    def __iter__(self) -> Iterator[int]:
        for step in range(self._steps):
            yield from sorted(range(step * self._batch, (step + 1) * self._batch), key=self._size)
