"""Checking records for what LLaMA-Factory would drop, fail on or train on in silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from migbench.errors import UsageError
from migbench.mini.conversations import Conversation
from migtrain.records.files import split_records
from migtrain.records.lengths import ESTIMATED, LengthCounter
from migtrain.records.parsing import ErrorKind, RecordError, parse_conversation

RECORDS_LOOKED_AT = 20
"""So many records tell whether a file of a folder holds conversations."""


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record that cannot be trained on: its file, its place in it from 0, its id, and why."""

    file: Path
    index: int
    id: str
    kind: ErrorKind
    detail: str

    def __str__(self) -> str:
        name = f" ({self.id})" if self.id else ""
        return f"{self.file}, record {self.index}{name}: {self.detail}"


@dataclass
class ValidationReport:
    """What a check has found: valid records by kind, and every invalid one.

    ``longest`` is the largest number of tokens of a valid record.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    invalid: list[InvalidRecord] = field(default_factory=list)
    longest: int = 0

    @property
    def valid(self) -> int:
        """How many records can be trained on."""
        return self.kinds.total()

    @property
    def errors(self) -> Counter[ErrorKind]:
        """How many records are invalid, by kind of error."""
        return Counter(each.kind for each in self.invalid)


@dataclass(frozen=True, slots=True)
class RecordChecker:
    """What records are held to.

    ``images`` is the folder below which image paths lie. ``decode`` decodes every image in full; a
    damaged one is otherwise found only where its header is.
    """

    images: Path
    cutoff_len: int
    counter: LengthCounter = ESTIMATED
    decode: bool = True

    def valid_records(
        self, file: Path, report: ValidationReport, kind: str | None = None
    ) -> Iterator[Conversation]:
        """The valid records of a file, in order; ``report`` takes the others.

        ``kind`` is that of records which name none. Raises `DataError` where the file as a whole
        cannot be read.
        """
        for index, raw in enumerate(split_records(file)):
            content: object = None
            try:
                content = _decoded(raw)
                conversation = parse_conversation(content, kind)
                length = self._length(conversation)
            except RecordError as error:
                invalid = InvalidRecord(file, index, _identity(content), error.kind, str(error))
                report.invalid.append(invalid)
                continue
            report.kinds[conversation.kind] += 1
            report.longest = max(report.longest, length)
            yield conversation

    def _length(self, conversation: Conversation) -> int:
        """Tokens of a record. Raises `RecordError` for its images and for too many."""
        sizes = [self._size(image) for image in conversation.images]
        length = self.counter.count(conversation, sizes)
        if length > self.cutoff_len:
            about = "" if self.counter.exact else "about "
            raise RecordError(
                ErrorKind.TOO_LONG, f"{about}{length:,} tokens, more than {self.cutoff_len:,}"
            )
        return length

    def _size(self, name: str) -> tuple[int, int]:
        path = self.images / name
        if not path.is_file():
            raise RecordError(ErrorKind.MISSING_IMAGE, name)
        try:
            with Image.open(path) as image:
                if self.decode:
                    image.load()
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
            raise RecordError(ErrorKind.CORRUPT_IMAGE, f"{name} ({reason})") from error


def check_files(files: Iterable[Path], checker: RecordChecker) -> ValidationReport:
    """Check all records of some files."""
    report = ValidationReport()
    for file in files:
        for _ in checker.valid_records(file, report):
            pass
    return report


def find_record_files(data: Path) -> tuple[list[Path], list[Path]]:
    """The record files that ``data`` names, and the JSON files below it that hold no records.

    A file is itself. Of a folder they are all JSON files at any depth in which one of the first
    records has ``conversations``. Raises `UsageError` where there is none.
    """
    if data.is_file():
        return [data], []
    files = sorted(path for path in data.rglob("*") if path.suffix in (".json", ".jsonl"))
    found = [path for path in files if _holds_conversations(path)]
    if not found:
        raise UsageError(f"{data}: no JSON file below it holds conversation records")
    return found, [path for path in files if path not in found]


def _holds_conversations(path: Path) -> bool:
    with path.open("rb") as file:
        begins = file.read(64).lstrip()
    if path.suffix == ".json" and not begins.startswith(b"["):
        return False
    for _, raw in zip(range(RECORDS_LOOKED_AT), split_records(path), strict=False):
        if b'"conversations"' in raw:
            return True
    return False


def _decoded(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RecordError(ErrorKind.NOT_AN_OBJECT, str(error)) from error


def _identity(content: object) -> str:
    return str(content.get("id", "")) if isinstance(content, dict) else ""
