"""Reading YAML: safely, within bounds, into typed records, with errors that name the file.

A few lines of YAML can stand for any amount of data (aliases of aliases), nest until the parser
overflows its stack, or hold a number that takes minutes to convert. The events of a document, which
cost no more than its text, are therefore held against bounds before anything is made of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from migbench.errors import DataError
from migbench.util.input_files import SMALL, read_text

T = TypeVar("T")

DEPTH = 60
"""How deeply lists and mappings may nest; ours nest six deep."""
NODES = 200_000
"""How many values a document may hold, every alias counted as all that it stands for."""
DIGITS = 400
"""The longest number, in characters: longer ones are no numbers that anything here uses."""

_NUMBER = re.compile(r"[-+0-9a-fA-Fx._:]+")
_WRONG_VALUE = (ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)
"""What the constructors of numbers, dates and the like raise on a text that is none."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that keeps lmms-eval's ``!function`` tag as inert text."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `DataError` naming the file and the line."""
    content = parse_yaml(read_text(path, SMALL), str(path))
    if not isinstance(content, dict):
        raise DataError(f"{path}: a mapping of keys to values is expected")
    return content


def parse_yaml(text: str, where: str) -> Any:
    """The value that a YAML text stands for. Raises `DataError` beginning with ``where``."""
    try:
        _refuse_excess(text, where)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise DataError(f"{where}: {error}") from error
    except _WRONG_VALUE as error:
        raise DataError(
            f"{where}: holds a value that is not what it is written as ({error})"
        ) from (error)


def as_record(content: object, kind: type[T], path: Path) -> T:
    """Check ``content`` against a record type. Raises `DataError` naming file, line and field.

    The line is told where ``path`` is the YAML file that the content was read from.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}{_line_of(str(error), path)}: {error}") from error


_PLACE = re.compile(r"`\$((?:\.\w+|\[\d+\]|\[\.\.\.\])*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")


def _line_of(message: str, path: Path) -> str:
    """``:LINE`` of what a message of msgspec is about, or nothing where it cannot be told."""
    place = _PLACE.search(message)
    steps = re.findall(r"\w+", place.group(1)) if place else []
    unknown = _UNKNOWN.search(message)
    # Our own checks begin with the field's name.
    last = unknown.group(1) if unknown else message.split(maxsplit=1)[0]
    try:
        node = yaml.compose(read_text(path, SMALL), Loader=_Loader)
    except (DataError, yaml.YAMLError):
        return ""
    line = None
    for step in [*steps, last]:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return "" if line is None else f":{line + 1}"


def _child(node: Any, step: str) -> tuple[int, Any] | None:
    """The line, from 0, and the node of a key's value or a list's item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
        item = node.value[int(step)]
        return item.start_mark.line, item
    return None


def _refuse_excess(text: str, where: str) -> None:
    """Raise `DataError` where the document is out of bounds, as soon as it is."""
    # The number of values below the document and each open collection, and the anchors' own.
    counts: list[int] = [0]
    anchors: list[str | None] = [None]
    sizes: dict[str | None, int] = {}
    for event in yaml.parse(text, _Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.events.CollectionStartEvent):
            counts.append(1)
            anchors.append(event.anchor)
            sizes.pop(event.anchor, None)  # Unknown until it ends: it must not hold itself.
        elif isinstance(event, yaml.events.CollectionEndEvent):
            size, anchor = counts.pop(), anchors.pop()
            counts[-1] += size
            sizes[anchor] = size
        elif isinstance(event, yaml.events.ScalarEvent):
            counts[-1] += 1
            sizes[event.anchor] = 1
            if len(event.value) > DIGITS and event.implicit[0] and _NUMBER.fullmatch(event.value):
                raise DataError(
                    f"{where}:{line}: a number of {len(event.value):,} characters is refused; "
                    "if it is a text, put it in quotes"
                )
        elif isinstance(event, yaml.events.AliasEvent):
            if event.anchor in anchors:
                raise DataError(f"{where}:{line}: *{event.anchor} is an alias inside of itself")
            counts[-1] += sizes.get(event.anchor, 1)
        if len(counts) > DEPTH:
            raise DataError(f"{where}:{line}: is nested more than {DEPTH} deep")
        if sum(counts) > NODES:
            raise DataError(
                f"{where}:{line}: stands for more than {NODES:,} values; "
                "write out what its aliases repeat, as far as it is needed"
            )
