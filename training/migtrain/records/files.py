"""Files of conversation records, of any size, taken apart record by record.

A file is a JSON list of records, as MGrounding-630k's are, or one record a line (``.jsonl``). A few
megabytes are in memory at a time: the published files have a gigabyte and more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from migbench.errors import DataError

CHUNK = 4 << 20
LONGEST_RECORD = 64 << 20
"""Bytes; a list that holds a longer record is taken for damaged instead of being read on."""


def split_records(path: Path) -> Iterator[bytes]:
    """The records of a file, still undecoded.

    A blank line is no record. Records of a list are at least well-formed JSON; lines may be
    anything. Raises `DataError` naming the record after which a list is no JSON.
    """
    try:
        yield from _lines(path) if path.suffix == ".jsonl" else _elements(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.strip())


def _elements(path: Path) -> Iterator[bytes]:
    """The elements of a JSON list, of which a few megabytes at a time are in memory.

    Read as Latin-1, a byte is a character, so that places in the text are places in the file; JSON
    needs nothing beyond ASCII to be taken apart.
    """
    decoder = json.JSONDecoder()
    with path.open("rb") as file:
        window = _Window(file.read, path)
        window.expect("[", "a JSON list of records is expected")
        count = 0
        while window.next_is_not("]"):
            if count:
                window.expect(",", f"a comma is expected after record {count - 1}")
            yield window.element(decoder, count).encode("latin-1")
            count += 1


class _Window:
    """The part of a file that is in memory: ``text`` begins at byte ``offset``."""

    def __init__(self, read: Callable[[int], bytes], path: Path) -> None:
        self._read = read
        self._path = path
        self._text = ""
        self._offset = 0
        self._at = 0

    def next_is_not(self, character: str) -> bool:
        self._skip_space()
        if self._at == len(self._text):
            raise DataError(f"{self._path}: ends within its list of records; is it complete?")
        return self._text[self._at] != character

    def expect(self, character: str, message: str) -> None:
        self._skip_space()
        if self._text[self._at : self._at + 1] != character:
            raise DataError(f"{self._path}: {message} (byte {self._offset + self._at})")
        self._at += 1

    def element(self, decoder: json.JSONDecoder, count: int) -> str:
        """The next JSON value."""
        self._skip_space()
        while True:
            try:
                _, end = decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at <= LONGEST_RECORD and self._more():
                    continue
                place = f"record {count}, byte {self._offset + self._at}"
                raise DataError(f"{self._path}: {place}: not valid JSON ({error})") from error
            # A number at the window's end may go on beyond it; records are objects.
            if end < len(self._text) or not self._more():
                break
        start, self._at = self._at, end
        return self._text[start:end]

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read on, and forget what has been dealt with."""
        chunk = self._read(max(CHUNK, len(self._text) - self._at))
        self._text = self._text[self._at :] + chunk.decode("latin-1")
        self._offset += self._at
        self._at = 0
        return bool(chunk)
