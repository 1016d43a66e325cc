"""Long sequences made a chunk at a time, so that memory does not grow with their items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

CHUNK = 5_000
"""Items in a chunk: the whole benchmark, of which nothing is made twice."""

Item = TypeVar("Item")


class Chunked(Sequence[Item], Generic[Item]):
    """A sequence whose items are made when they are asked for; it keeps the chunk made last.

    ``make`` gives the items from one place up to another. What is no longer than a chunk is made
    once; the items of a longer sequence are made anew every time that they are walked through.
    """

    def __init__(
        self, length: int, make: Callable[[int, int], Sequence[Item]], first: Sequence[Item] = ()
    ) -> None:
        """``first`` is the first chunk, where it is made already."""
        self._length = length
        self._make = make
        self._size = CHUNK
        self._start = 0
        self._kept = first

    def __len__(self) -> int:
        """The number of items."""
        return self._length

    def __iter__(self) -> Iterator[Item]:
        """All items, a chunk at a time."""
        for start in range(0, self._length, self._size):
            yield from self._chunk(start)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, place: int | slice) -> Item | tuple[Item, ...]:
        """One item, made alone unless its chunk is at hand; or those of a slice."""
        if isinstance(place, slice):
            return tuple(self[each] for each in range(self._length)[place])
        place = range(self._length)[place]
        if self._start <= place < self._start + len(self._kept):
            return self._kept[place - self._start]
        if self._length <= self._size:
            return self._chunk(0)[place]
        return self._make(place, place + 1)[0]

    def take(self, places: Iterable[int]) -> Iterator[Item]:
        """The items at these places, chunk by chunk: for many places, in ascending order."""
        for place in places:
            start = place - place % self._size
            yield self._chunk(start)[place - start]

    def _chunk(self, start: int) -> Sequence[Item]:
        if self._start != start or not self._kept:
            self._kept = ()  # Not two chunks at once.
            self._kept = self._make(start, min(start + self._size, self._length))
            self._start = start
        return self._kept
