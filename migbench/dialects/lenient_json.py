"""The JSON objects in an answer, however badly they are written, each with its place in the text.

Understood beside JSON: prose and code fences around it, single quotes, keys without quotes,
trailing and missing commas, comments, a quote inside a string, closing brackets of the wrong kind,
and an end that the token limit cut off. One pass over the text without recursion, so time is linear
whatever the text is. Libraries that read or repair bad JSON (json-repair, json5, pyjson5 and hjson
were tried) do not say where in the text a value stands, and refuse a list that was cut off,
complete numbers that were, or recurse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite

DEEPEST = 32
"""Brackets inside of as many others are passed over."""


@dataclass(slots=True, eq=False)
class JsonArray:
    """A list. ``closed`` says whether its end was seen."""

    start: int
    end: int = 0
    closed: bool = False
    items: list[JsonValue] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class JsonObject:
    """An object; ``key`` and ``parent`` say under which key of which object it stands."""

    start: int
    parent: JsonObject | None
    key: str
    end: int = 0
    closed: bool = False
    fields: list[JsonField] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class JsonField:
    """A key and its value, which stands at ``start`` to ``end`` of the text."""

    key: str
    value: JsonValue
    start: int
    end: int


JsonValue = str | float | bool | None | JsonArray | JsonObject

_TOKEN = re.compile(
    r"""(?P<space>\s++)
    |(?P<open>[\[{])
    |(?P<close>[\]}])
    |(?P<colon>[:=])
    |(?P<comma>,)
    |(?P<number>[-+]?(?:\d{1,40}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,3})?(?![\w.]))
    # A quote ends a string where JSON may go on after it; another one is an apostrophe.
    |"(?P<double>(?:[^"\\\n]|\\.|"(?!\s{0,40}(?:[,:\]}/#]|\Z)|[ \t]{0,40}\n))*+)(?:"|\n|\Z|\\)
    |'(?P<single>(?:[^'\\\n]|\\.|'(?!\s{0,40}(?:[,:\]}/#]|\Z)|[ \t]{0,40}\n))*+)(?:'|\n|\Z|\\)
    |(?P<comment>//[^\n]*+|\#[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))
    |(?P<word>[^\W\d][\w.-]*+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_WORDS: dict[str, JsonValue] = {
    **dict.fromkeys(("null", "none", "nan", "undefined"), None),
    "true": True,
    "false": False,
}


def find_objects(text: str) -> list[JsonObject]:
    """All objects with at least one field, in the order in which they begin.

    >>> [(each.fields[0].key, each.fields[0].value) for each in find_objects("so: {'a': 1,} {b: 2")]
    [('a', 1.0), ('b', 2.0)]
    """
    found: list[JsonObject] = []
    position = text.find("{")
    while position >= 0:
        reader = _Reader(text, position)
        found.extend(each for each in reader.read() if each.fields)
        position = text.find("{", reader.position)
    return found


class _Reader:
    """Reads one outermost object; ``position`` is where it ends."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.position = text, start
        self.objects: list[JsonObject] = []
        self.open: list[JsonObject | JsonArray] = []
        self.keys: list[str | None] = []
        """For every open container the key that waits for its value."""
        self.word: str | None = None
        """The last word read, which is a key if a colon follows."""
        self.count = {JsonObject: 0, JsonArray: 0}

    def read(self) -> list[JsonObject]:
        """All objects, the outermost first."""
        for match in _TOKEN.finditer(self.text, self.position):
            self.position = match.end()
            self._take(match)
            if not self.open:
                return self.objects
        for each in self.open:
            each.end = len(self.text)
        return self.objects

    def _take(self, match: re.Match[str]) -> None:
        kind = match.lastgroup or ""
        start, end = match.span()
        match kind:
            case "open":
                self._open(match.group(), start)
            case "close":
                self._close(JsonObject if match.group() == "}" else JsonArray, end)
            case "colon":
                if self.word is not None and isinstance(self.open[-1], JsonObject):
                    self.keys[-1], self.word = self.word, None
            case "comma":
                self.word = None
                self.keys[-1] = None
            case "number":
                number = float(match.group())
                if isfinite(number):
                    self._value(number, start, end)
            case "double" | "single":
                self._text(match.group(kind), start, end)
            case "word":
                self._word(match.group(), start, end)

    def _open(self, bracket: str, start: int) -> None:
        if len(self.open) >= DEEPEST:
            return
        inner: JsonObject | JsonArray
        if bracket == "{":
            parent, key = self._context()
            inner = JsonObject(start, parent, key)
            self.objects.append(inner)
        else:
            inner = JsonArray(start)
        self.open.append(inner)
        self.keys.append(None)
        self.count[type(inner)] += 1
        self.word = None

    def _context(self) -> tuple[JsonObject | None, str]:
        """The innermost open object, and the key that waits in it."""
        for each, key in zip(reversed(self.open), reversed(self.keys), strict=True):
            if isinstance(each, JsonObject):
                return each, key or ""
        return None, ""

    def _close(self, kind: type[JsonObject | JsonArray], end: int) -> None:
        if not self.count[kind]:
            return
        self.word = None
        while self.open:
            inner = self.open.pop()
            self.keys.pop()
            self.count[type(inner)] -= 1
            inner.end, inner.closed = end, True
            if self.open:
                self._value(inner, inner.start, end)
            if type(inner) is kind:
                return

    def _text(self, text: str, start: int, end: int) -> None:
        if isinstance(self.open[-1], JsonObject) and self.keys[-1] is None:
            self.word = text
        else:
            self._value(text, start, end)

    def _word(self, word: str, start: int, end: int) -> None:
        if isinstance(self.open[-1], JsonObject) and self.keys[-1] is None:
            self.word = word
        else:
            self._value(_WORDS.get(word.lower(), word), start, end)

    def _value(self, value: JsonValue, start: int, end: int) -> None:
        outer = self.open[-1]
        if isinstance(outer, JsonArray):
            outer.items.append(value)
        elif (key := self.keys[-1]) is not None:
            outer.fields.append(JsonField(key, value, start, end))
            self.keys[-1] = None


def path_to_root(inner: JsonObject) -> Iterator[JsonObject]:
    """An object, and those that hold it."""
    current: JsonObject | None = inner
    while current is not None:
        yield current
        current = current.parent
