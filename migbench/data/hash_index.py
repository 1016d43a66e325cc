"""Where the things of a key lie, without the things: 16 bytes for each."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable

import numpy as np


class HashIndex:
    """Places by key, of which no more than a hash is kept."""

    def __init__(self) -> None:
        """Know no place yet."""
        self._hashes = array("q")
        self._places = array("q")
        self._sorted = True

    def add(self, key: Hashable, place: int) -> None:
        """Something of this key lies there."""
        self._hashes.append(hash(key))
        self._places.append(place)
        self._sorted = False

    def find(self, keys: Iterable[Hashable]) -> list[int]:
        """All places of these keys, in ascending order.

        Places of other keys may be among them, if their hashes are equal: look at what lies there.
        """
        if not self._sorted:
            self._sort()
        wanted = np.unique(np.fromiter(map(hash, keys), np.int64))
        hashes = np.frombuffer(self._hashes, np.int64)
        starts = np.searchsorted(hashes, wanted, "left").tolist()
        stops = np.searchsorted(hashes, wanted, "right").tolist()
        return sorted(
            place
            for start, stop in zip(starts, stops, strict=True)
            for place in self._places[start:stop]
        )

    def _sort(self) -> None:
        order = np.argsort(np.frombuffer(self._hashes, np.int64))
        self._hashes, self._places = (
            array("q", np.frombuffer(column, np.int64)[order].tobytes())
            for column in (self._hashes, self._places)
        )
        self._sorted = True
