"""Files of conversation records, of any size: read once to index them, then record by record.

A file is a JSON list of records, as MGrounding-630k's are, or one record a line (``.jsonl``). Only
an index stays in memory, some 20 bytes a record, so that all 630,000 fit anywhere. A record that
cannot be trained on is named and left out; the others are not touched by it.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migbench.data.images import ImageFolder
from migbench.errors import DataError
from migbench.mini.conversations import Conversation
from migtrain.records.parsing import Flaw, FlawedRecord, parse_conversation

CHUNK = 4 << 20
LONGEST_RECORD = 64 << 20
"""Bytes; a list that holds a longer record is taken for damaged instead of being read on."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that was left out: its file, its place in it from 0, and why."""

    file: Path
    index: int
    flaw: Flaw
    detail: str

    def __str__(self) -> str:
        return f"{self.file}, record {self.index}: {self.detail}"


@dataclass
class Census:
    """What reading has found: sound records by kind, bad ones by flaw, the first bad ones by name.

    ``unused`` are records of kinds that were not asked for. ``on_bad`` is called with every bad
    record.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    flaws: Counter[Flaw] = field(default_factory=Counter)
    first_bad: list[BadRecord] = field(default_factory=list)
    on_bad: Callable[[BadRecord], None] = lambda bad: None

    NAMED = 20

    def reject(self, bad: BadRecord) -> None:
        """Count a bad record."""
        self.flaws[bad.flaw] += 1
        if len(self.first_bad) < self.NAMED:
            self.first_bad.append(bad)
        self.on_bad(bad)


class RecordIndex:
    """The sound records of some files, in their order; each is read when it is asked for."""

    def __init__(self, folder: ImageFolder, kind: str | None = None) -> None:
        """An empty index over images below ``folder``; `add` files to it.

        ``kind`` is the kind of records that name none.
        """
        self._folder = folder
        self._kind = kind
        self._files: list[Path] = []
        self._file = array("I")
        self._start = array("Q")
        self._length = array("I")
        self._images = array("I")

    def __len__(self) -> int:
        return len(self._start)

    def add(
        self,
        path: Path,
        census: Census,
        *,
        kinds: frozenset[str] | None = None,
        check_images: bool = True,
    ) -> None:
        """Index a file's sound records, of these kinds alone if any are given.

        Raises `DataError` where the file as a whole cannot be read.
        """
        self._files.append(path)
        for index, (start, raw) in enumerate(split_records(path)):
            try:
                conversation = self._parse(raw)
                if kinds is not None and conversation.kind not in kinds:
                    census.unused[conversation.kind] += 1
                    continue
                if check_images:
                    self._require_images(conversation)
            except FlawedRecord as error:
                census.reject(BadRecord(path, index, error.flaw, str(error)))
                continue
            census.kinds[conversation.kind] += 1
            self._file.append(len(self._files) - 1)
            self._start.append(start)
            self._length.append(len(raw))
            self._images.append(len(conversation.images))

    def images(self, number: int) -> int:
        """How many images a record shows, without reading it."""
        return self._images[number]

    def read(self, number: int) -> Conversation:
        """The record of this number. Raises `DataError` where its file has changed meanwhile."""
        path = self._files[self._file[number]]
        try:
            with path.open("rb") as file:
                file.seek(self._start[number])
                return self._parse(file.read(self._length[number]))
        except (OSError, FlawedRecord) as error:
            raise DataError(f"{path}: has changed since it was indexed ({error})") from error

    def _parse(self, raw: bytes) -> Conversation:
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise FlawedRecord(Flaw.NOT_JSON, str(error)) from error
        return parse_conversation(content, self._kind)

    def _require_images(self, conversation: Conversation) -> None:
        for image in conversation.images:
            try:
                file = self._folder.file(image)
            except DataError as error:
                raise FlawedRecord(Flaw.OUTSIDE, str(error)) from error
            if file.path is None or not file.path.is_file():
                raise FlawedRecord(Flaw.MISSING, image)


def split_records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each record of a file begins, in bytes, and the record, still undecoded.

    Records of a list are at least well-formed JSON; lines may be anything. Raises `DataError`
    naming the record after which a list is no JSON.
    """
    try:
        yield from _lines(path) if path.suffix == ".jsonl" else _elements(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        start = 0
        for line in file:
            if line.strip():
                yield start, line
            start += len(line)


def _elements(path: Path) -> Iterator[tuple[int, bytes]]:
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
            start, text = window.element(decoder, count)
            yield start, text.encode("latin-1")
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

    def element(self, decoder: json.JSONDecoder, count: int) -> tuple[int, str]:
        """The next JSON value, and the byte where it begins."""
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
        return self._offset + start, self._text[start:end]

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


def index_records(
    paths: Iterable[Path],
    folder: ImageFolder,
    census: Census,
    *,
    kind: str | None = None,
    kinds: frozenset[str] | None = None,
    check_images: bool = True,
) -> RecordIndex:
    """All sound records of some files in one index; see `RecordIndex.add`."""
    index = RecordIndex(folder, kind)
    for path in paths:
        index.add(path, census, kinds=kinds, check_images=check_images)
    return index
