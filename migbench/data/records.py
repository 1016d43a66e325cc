"""The records of a JSON list, found without holding the file in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import msgspec

from migbench.errors import DataError
from migbench.util.input_files import BOM, refuse_utf_16
from migbench.util.json_files import INVALID, line_of, trouble

BLOCK = 1 << 20
"""How many bytes are read at a time."""

_SPACE = b" \t\n\r"


class FoundRecord(NamedTuple):
    """A record as it stands in the file; it begins at this byte, from 0, and line, from 1."""

    start: int
    line: int
    raw: msgspec.Raw


def find_records(path: Path, file: BufferedReader) -> Iterator[FoundRecord]:
    """All records of the list, in their order.

    Whether a closing brace ends a record, the decoder tells: with a bracket behind it, what has
    been read is a list, unless the brace stands in a text or closes something inside a record.
    Raises `DataError`, naming the line, where the file is no list or not valid JSON.
    """
    line, number = 1, 0
    rest, wanted = file.read(BLOCK), BLOCK
    refuse_utf_16(path, rest)
    start = len(BOM) if rest.startswith(BOM) else 0
    file.seek(start)
    rest = b""
    while more := file.read(wanted):
        rest += more
        end = rest.rfind(b"}") + 1
        records = _decode_part(rest[:end], opening=b"," if number else b"[")
        if not records:
            wanted = max(BLOCK, len(rest))  # Twice as much, lest a long record take ever more time.
            continue
        yield from _locate(records, rest, start, line)
        line += rest.count(b"\n", 0, end)
        start, number, rest, wanted = start + end, number + len(records), rest[end:], BLOCK
    if not number or rest.strip(_SPACE) != b"]":
        # Not to be taken apart at braces: there are none, or something is wrong.
        file.seek(0)
        content = file.read()
        records = _decode_list(path, content.removeprefix(BOM))
        yield from _locate(records[number:], content[start:], start, line)


def _decode_part(part: bytes, opening: bytes) -> list[msgspec.Raw]:
    """The records of a part, which begins where the list or the record before it ends; or none."""
    if not part.lstrip(_SPACE).startswith(opening):
        return []
    try:
        return msgspec.json.decode(part.replace(opening, b"[", 1) + b"]", type=list[msgspec.Raw])
    except INVALID:
        return []


def _locate(
    records: Sequence[msgspec.Raw], content: bytes, start: int, line: int
) -> Iterator[FoundRecord]:
    """Where records lie in a content that begins at this byte and line."""
    end = counted = 0
    for raw in records:
        # Only commas and white space lie between two records, so the first match is the record.
        here = content.index(raw, end)
        line += content.count(b"\n", counted, here)
        counted = here
        end = here + len(memoryview(raw))
        yield FoundRecord(start + here, line, raw)


def _decode_list(path: Path, content: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: a JSON list of records is expected ({error})") from error
    except INVALID as error:
        line = line_of(error, content)
        raise DataError(f"{path}{line}: not valid JSON: {trouble(error, content)}") from error
