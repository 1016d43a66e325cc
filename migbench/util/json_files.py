"""Reading JSON that somebody else wrote: within bounds, with errors that say what is the matter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from migbench.errors import DataError
from migbench.util.input_files import LARGE, read_bytes
from migbench.util.plain_text import encodable

T = TypeVar("T")

INVALID = (msgspec.DecodeError, ValueError, RecursionError)
"""All that msgspec raises on bytes that are not the JSON asked for; `trouble` words it."""

_NOT_A_NUMBER = re.compile(rb"-?(?:NaN|Infinity|nan|inf|Inf)\b")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u)")


def read_json(
    path: Path, kind: type[T], what: str, limit: int = LARGE, *, holds_answers: bool = False
) -> T:
    """The JSON in a file as this type; ``what`` says what it is to be, with its article.

    Where it ``holds_answers`` it is decoded by `decode_answers`.

    Raises `DataError` naming the file, and the line where the decoder tells it.
    """
    content = read_bytes(path, limit)
    try:
        if holds_answers:
            return decode_answers(content, kind)
        return msgspec.json.decode(content, type=kind)
    except INVALID as error:
        line = line_of(error, content)
        raise DataError(f"{path}{line}: not {what}: {trouble(error, content)}") from error


def decode_answers(content: bytes, kind: type[T]) -> T:
    """JSON with models' texts in it, as this type.

    Other programs write the half of a surrogate pair that is left of an emoji where an answer was
    cut, which strict JSON has no room for; it becomes its escape. Raises one of `INVALID`.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not _SURROGATE.search(content):
            raise
        return msgspec.convert(encodable_json(json.loads(content)), kind)


def encodable_json(value: Any) -> Any:
    """The value with every text in it such that files can hold it."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [encodable_json(each) for each in value]
    if isinstance(value, dict):
        return {encodable(name): encodable_json(each) for name, each in value.items()}
    return value


def trouble(error: Exception, content: bytes) -> str:
    """What is wrong with JSON that was refused with this error, as the end of a sentence."""
    if not content.strip():
        return "it is empty"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 ({error}); save it as UTF-8"
    place = _byte_of(error)
    if place is not None:
        if not content[place:].strip():
            return "it is cut off in the middle"
        found = _NOT_A_NUMBER.search(content, max(0, place - 1), place + 12)
        if found and found.start() <= place:
            return (
                f"{found.group().decode()} is no JSON; write a number, or null where there is none"
            )
        if place == 0:
            beginning = content[:20].decode("utf-8", "backslashreplace")
            return f"it begins with {beginning!r}, and is not JSON"
    elif "truncated" in str(error):
        if _LONE_SURROGATE.search(content):
            return "it holds half of a surrogate pair (\\ud83d without its other half)"
        return "it is cut off in the middle"
    return str(error)


def line_of(error: Exception, content: bytes) -> str:
    """``:LINE`` where the decoder says at which byte it stopped."""
    place = _byte_of(error)
    if place is None:
        return ""
    line = content.count(b"\n", 0, place) + 1
    return f":{line}"


def _byte_of(error: Exception) -> int | None:
    _, found, rest = str(error).partition("(byte ")
    return int(rest.rstrip(")")) if found else None
