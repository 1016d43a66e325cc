"""JSON lists that are written one item after another."""

from __future__ import annotations

from typing import IO

import msgspec


class JsonList:
    """A list that begins where the file stands; `close` ends it, and leaves the file open."""

    def __init__(self, file: IO[bytes]) -> None:
        """Begin it."""
        self._file = file
        self._encoder = msgspec.json.Encoder()
        self._length = 0
        file.write(b"[")

    def add(self, item: object) -> None:
        """One more item, on a line of its own."""
        self._file.write(b",\n" if self._length else b"\n")
        self._file.write(self._encoder.encode(item))
        self._length += 1

    def close(self) -> None:
        """End the list."""
        self._file.write(b"\n]")

    def __len__(self) -> int:
        """How many items there are."""
        return self._length
