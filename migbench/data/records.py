"""The records of a JSON list, each as it stands in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from migbench.errors import DataError
from migbench.util.json_files import INVALID, line_of, trouble


def find_records(path: Path, content: bytes) -> list[msgspec.Raw]:
    """All records of the list, in their order; their own content is checked for syntax alone.

    Raises `DataError`, naming the line, where the content is no list or not valid JSON.
    """
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: a JSON list of records is expected ({error})") from error
    except INVALID as error:
        line = line_of(error, content)
        raise DataError(f"{path}{line}: not valid JSON: {trouble(error, content)}") from error


def number_lines(content: bytes, records: Sequence[msgspec.Raw]) -> Iterator[int]:
    """The line of the file, from 1, on which each of all its records begins."""
    line, counted, end = 1, 0, 0
    for raw in records:
        # Only commas and white space lie between two records, so the first match is the record.
        start = content.index(raw, end)
        line += content.count(b"\n", counted, start)
        counted, end = start, start + len(memoryview(raw))
        yield line
