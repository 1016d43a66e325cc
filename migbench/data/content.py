"""What an annotation file is known by: a hash of its records, however they are written down.

A copy with other line ends, indentation, key order, string escapes or a byte order mark is the same
file; one with another record, another order of records, or another value of any field is another.
Numbers are equal where their values are: 1, 1.0 and 1e0; 0.5 and 0.50. Decimals are the doubles
nearest to them, as every reader takes them.

The hash is the SHA-256 of one line a record, each ended by a line feed: the record as JSON in
UTF-8, keys sorted, without white space, whole numbers without a decimal point.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from migbench.util.json_files import INVALID, trouble


class ContentHash:
    """The hash of an annotation file, made record by record."""

    def __init__(self) -> None:
        """Of no record yet."""
        self._digest = hashlib.sha256()

    def add(self, raw: bytes) -> None:
        """Take in the next record. Raises `ValueError` for one that has no definite content.

        It counts all the same, as it is written.
        """
        try:
            line = canonical(raw)
        except ValueError:
            self._digest.update(raw + b"\n")
            raise
        self._digest.update(line + b"\n")

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def canonical(raw: bytes) -> bytes:
    """The one form of all JSON that says the same.

    Raises `ValueError` for JSON that is invalid, or gives an object's key twice: readers do not
    agree on which of the two counts.

    >>> canonical(b'{"b": [1.0, 0.50], "a": "\\\\u00e9"}').decode()
    '{"a":"é","b":[1,0.5]}'
    """
    try:
        line = msgspec.json.encode(_plain(msgspec.json.decode(raw)), order="sorted")
        # Where nothing is escaped, quotes go missing only with a key that is there twice.
        if b"\\" in raw or raw.count(b'"') != line.count(b'"'):
            json.loads(raw, object_pairs_hook=_refuse_repeated_keys)
    except INVALID as error:
        raise ValueError(trouble(error, raw)) from error
    return line


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (repeated, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"gives the field {repeated!r} more than once; leave one of them")
    return found
