"""The ways in which models write four numbers for a box, as patterns that take linear time.

Every repetition is bounded, so that no answer, however long or hostile, is slow to search.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

NUMBER = r"[-+]?(?:\d{1,7}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,2})?"
_N = rf"({NUMBER})"
_QUOTED = rf"[\"']?{_N}[\"']?"
_DECIMAL = r"([-+]?[01]?\.\d{1,60})"
_S = r"\s{0,40}"
_COMMA = rf"{_S},{_S}"
_APART = rf"(?:{_COMMA}|\s{{1,40}})"
_TO = "(?:[,;~–→-]|->|to|and|到|至|和)?"


class Syntax(StrEnum):
    """A way of writing a box. Brackets may be doubled, spaces loose, Chinese punctuation used."""

    JSON = "json"
    """An object that has the box under a key (`Dialect.keys`), or its corners by name"""
    CORNER_PAIRS = "corner-pairs"
    """``(x1,y1),(x2,y2)`` (Qwen2-VL, with or without its box tokens), in any declared brackets"""
    QUAD = "quad"
    """``[a, b, c, d]`` in any declared brackets, bare, in JSON or in a tag; several boxes may share
    brackets: ``[a,b,c,d;a,b,c,d]`` (CogVLM)"""
    DECIMAL_QUAD = "decimal-quad"
    """The same where all four numbers are written as decimals in 0-1: ``[0.12, 0.3, 0.5, 0.9]``"""
    BOX_TAG = "box-tag"
    """``<box>a b c d</box>`` (MiniCPM-V), commas, brackets and pairs inside allowed. `Dialect.tags`
    has the names. The tags are special tokens, which some servers strip: four numbers that are the
    whole answer are a box as well."""
    BARE = "bare"
    """``a, b, c, d`` and nothing else"""
    LOCATION_TOKENS = "location-tokens"
    """``<loc0001><loc0002><loc0003><loc0004>`` (PaliGemma), ``<loc_1>``... (Florence-2)"""
    NUMBER_TOKENS = "number-tokens"
    """``<1><2><3><4>`` (Rex-Omni); more or fewer of them in a row are no box"""
    ATTRIBUTES = "attributes"
    """``x1="1" y1="2" x2="3" y2="4"``, with or without quotes, in any order. The names are those of
    `Dialect.corners`."""


SEPARATE = (Syntax.JSON, Syntax.ATTRIBUTES)
"""Those that no pattern finds by itself."""
_NAMES = {syntax.value: syntax for syntax in Syntax}


class Brackets(NamedTuple):
    """How a dialect's brackets open and close, as sets of characters for a pattern."""

    opening: str
    closing: str


def check_syntax(written: str) -> None:
    """Raise ValueError unless this names a syntax or is a template with four ``{}``."""
    if written in _NAMES:
        return
    try:
        parts = list(string.Formatter().parse(written))
    except ValueError as error:
        raise ValueError(f"syntax {written!r}: {error}") from error
    fields = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    if fields != [("", "", None)] * 4:
        names = ", ".join(_NAMES)
        raise ValueError(
            f"syntax {written!r}: neither one of {names}, nor a template with four {{}} for the "
            "numbers, such as '{}_{}_{}_{}'; braces of its own are doubled"
        )


def check_brackets(pairs: Sequence[str]) -> None:
    """Raise ValueError unless all of these are an opening and a closing character."""
    for pair in pairs:
        if len(pair) != 2 or any(sign.isalnum() or sign.isspace() for sign in pair):
            raise ValueError(f"brackets {pair!r}: an opening and a closing sign are expected")


def _brackets(pairs: Sequence[str]) -> Brackets:
    signs = ["".join(re.escape(pair[place]) for pair in pairs) for place in (0, 1)]
    return Brackets(*(f"[{each}]" for each in signs))


def _pair(brackets: Brackets, number: str = _N) -> str:
    return rf"{brackets.opening}{_S}{number}{_COMMA}{number}{_S}{brackets.closing}"


def _quad(brackets: Brackets, number: str) -> str:
    numbers = _COMMA.join([number] * 4)
    return (
        rf"(?:{brackets.opening}|(?<=[\d\s]);){_S}{numbers}{_S}"
        rf"(?:,{_S})?(?:{brackets.closing}|(?=;))"
    )


def _tagged(tags: Sequence[str]) -> str:
    opening = "|".join(re.escape(f"<{tag}>") for tag in tags)
    closing = "|".join(re.escape(_closing(tag)) for tag in tags)
    between = rf"(?:{_APART}|{_S}[\])]{_S},?{_S}[\[(]{_S})"
    inside = (
        rf"[\[(]{{0,2}}{_S}{_N}{_APART}{_N}{between}{_N}{_APART}{_N}{_S}"
        r"[\])]{0,2}"
    )
    return rf"(?:{opening}|\A){_S}{inside}{_S}(?:{closing}|\Z)"


def _closing(tag: str) -> str:
    """What closes a tag.

    >>> _closing("box"), _closing("|det|"), _closing("|box_start|")
    ('</box>', '<|/det|>', '<|box_end|>')
    """
    if tag.endswith("start|"):
        return f"<{tag.removesuffix('start|')}end|>"
    if tag.startswith("|begin_"):
        return f"<|end_{tag.removeprefix('|begin_')}>"
    return f"<|/{tag[1:]}>" if tag.startswith("|") else f"</{tag}>"


def _template(template: str) -> str:
    """The pattern of a template; spaces in it are loose, and so are those around other signs."""
    before, *between, after = _literals(template)
    pattern = _literal(before) + _N
    pattern += "".join(_literal(each, between=True) + _N for each in between) + _literal(after)
    if not before.strip():
        pattern = rf"(?<![\w.]){pattern}"
    if not after.strip():
        separator = between[-1].strip()
        more = rf"(?!{_S}{re.escape(separator)}{_S}\d)" if separator else ""
        pattern += rf"(?!\.?\w){more}"
    return pattern


def _literals(template: str) -> list[str]:
    """What stands before, between and after the four numbers."""
    literals = [""]
    for literal, name, _, _ in string.Formatter().parse(template):
        literals[-1] += literal
        if name is not None:
            literals.append("")
    return literals


def _literal(literal: str, *, between: bool = False) -> str:
    words = literal.split()
    if not words:
        return r"\s{1,40}" if between else _S * bool(literal)
    return _S + _S.join(re.escape(word) for word in words) + _S


_TOKENS = {
    Syntax.LOCATION_TOKENS: rf"<loc_?(\d{{1,4}})>{_S}" * 4,
    Syntax.NUMBER_TOKENS: r"(?<!\d>)(?<!\d>\s)" + rf"<(\d{{1,4}})>{_S}+" * 4 + r"(?!<\d)",
}


@dataclass(frozen=True, slots=True)
class Ways:
    """Everything of a dialect that its patterns depend on."""

    syntax: tuple[str, ...]
    brackets: tuple[str, ...]
    tags: tuple[str, ...]

    def pattern_of(self, written: str) -> str:
        """The pattern of one syntax or template, with four number groups."""
        brackets = _brackets(self.brackets)
        match _NAMES.get(written):
            case None:
                return _template(written)
            case Syntax.CORNER_PAIRS:
                return rf"{_pair(brackets)}{_S}{_TO}{_S}{_pair(brackets)}"
            case Syntax.QUAD:
                return _quad(brackets, _QUOTED)
            case Syntax.DECIMAL_QUAD:
                return _quad(brackets, _DECIMAL)
            case Syntax.BOX_TAG:
                return _tagged(self.tags)
            case Syntax.BARE:
                return rf"\A{_S}{_APART.join([_N] * 4)}{_S}\.?{_S}\Z"
            case syntax:
                return _TOKENS[syntax]


class Match(NamedTuple):
    """Four numbers as they stand in a text, and the syntax in which they do."""

    numbers: tuple[float, ...]
    start: int
    end: int
    syntax: str


class Matches(NamedTuple):
    """What patterns find. ``has_polygon``: corners in a row, of which no two are a box."""

    boxes: list[Match]
    has_polygon: bool


@cache
def _compiled(ways: Ways) -> tuple[re.Pattern[str], tuple[str, ...]] | None:
    """One pattern for all ways, and for every four groups their syntax."""
    syntax = tuple(each for each in ways.syntax if each not in SEPARATE)
    if not syntax:
        return None
    pattern = "|".join(ways.pattern_of(each) for each in syntax)
    return re.compile(pattern, re.IGNORECASE | re.ASCII), syntax


@cache
def _pair_pattern(brackets: tuple[str, ...]) -> re.Pattern[str]:
    """Two numbers in brackets, and in a group what joins them to what stands before them."""
    pair = _pair(_brackets(brackets), rf"(?:{NUMBER})")
    return re.compile(rf"({_S}{_TO}{_S}){pair}", re.IGNORECASE | re.ASCII)


def find_matches(text: str, ways: Ways) -> Matches:
    """All boxes that the ways' patterns find, from left to right, none within another."""
    compiled = _compiled(ways)
    boxes: list[Match] = []
    has_polygon = False
    if compiled is None:
        return Matches(boxes, has_polygon)
    pattern, syntax = compiled
    position = 0
    while match := pattern.search(text, position):
        position = match.end()
        way = syntax[((match.lastindex or 1) - 1) // 4]
        if way == Syntax.CORNER_PAIRS and (end := _polygon_end(text, match, ways.brackets)):
            has_polygon, position = True, end
            continue
        numbers = tuple(float(number) for number in match.groups() if number is not None)
        boxes.append(Match(numbers, match.start(), match.end(), way))
    return Matches(boxes, has_polygon)


_QUAD_TOKEN = re.compile(r"<\|?(?:quad_start|polygon|quad|poly)\|?>\s{0,40}\Z")
_TOKEN_LENGTH = 60


def _polygon_end(text: str, match: re.Match[str], brackets: tuple[str, ...]) -> int:
    """Where the row of corners ends that a pair of corners begins, or 0 where the pair is a box.

    Corners that are joined as the first two are make a polygon; two boxes in a row are joined in
    another way than the corners of each: ``(1,2),(3,4)(5,6),(7,8)``.
    """
    pair = _pair_pattern(brackets)
    first = pair.match(text, match.start())
    second = pair.match(text, first.end()) if first else None
    assert second is not None, "a pair of corners is two corners"
    end = match.end()
    count = 2
    while (following := pair.match(text, end)) and following.group(1) == second.group(1):
        end, count = following.end(), count + 1
    before = text[max(0, match.start() - _TOKEN_LENGTH) : match.start()]
    is_polygon = count > 2 or _QUAD_TOKEN.search(before) is not None
    return end if is_polygon else 0


class Corners(NamedTuple):
    """A box whose corners are named, as ``x1, y1, x2, y2`` or, where so named, width and height."""

    numbers: tuple[float, ...]
    is_size: bool
    start: int
    end: int


KNOWN_CORNERS: tuple[tuple[str, str, str, str], ...] = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("min_x", "min_y", "max_x", "max_y"),
    ("left", "top", "right", "bottom"),
    ("x_left", "y_top", "x_right", "y_bottom"),
)
"""Names of the left, top, right and bottom edge."""
KNOWN_SIZES: tuple[tuple[str, str, str, str], ...] = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("left", "top", "width", "height"),
)
"""Names of the left and top edge, the width and the height."""

CornerNames = tuple[str, str, str, str]


def named_corners(
    named: dict[str, float], corners: Sequence[CornerNames]
) -> tuple[tuple[float, ...], bool] | None:
    """Four numbers by the first set of names that is complete, and whether two are sizes."""
    for names, is_size in [
        *((names, False) for names in corners),
        *((names, True) for names in KNOWN_SIZES),
    ]:
        if all(name.lower() in named for name in names):
            return tuple(named[name.lower()] for name in names), is_size
    return None


@cache
def _attribute_pattern(corners: tuple[CornerNames, ...]) -> re.Pattern[str]:
    names = {name.lower() for each in (*corners, *KNOWN_SIZES) for name in each}
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=lambda n: (-len(n), n)))
    return re.compile(
        rf"[\"']?(?<![\w])({longest_first})[\"']?{_S}[=:]{_S}[\"']?{_N}[\"']?{_S}[,;]?{_S}",
        re.IGNORECASE | re.ASCII,
    )


def find_attributes(text: str, corners: tuple[CornerNames, ...]) -> Iterator[Corners]:
    """Boxes whose corners are named one after the other, in any order.

    >>> [each.numbers for each in find_attributes("ymin=2 xmin=1 ymax=4 xmax=3", KNOWN_CORNERS)]
    [(1.0, 2.0, 3.0, 4.0)]
    """
    row: list[re.Match[str]] = []
    for match in _attribute_pattern(corners).finditer(text):
        if row and match.start() != row[-1].end():
            row = []
        row = [*row[-3:], match]
        if len(row) < 4:
            continue
        named = {each.group(1).lower(): float(each.group(2)) for each in row}
        if (box := named_corners(named, corners)) is not None:
            written = text[row[0].start() : row[-1].end()].rstrip(" \t\r\n,;")
            yield Corners(*box, row[0].start(), row[0].start() + len(written))
            row = []


# One character each, so that positions in the text stay what they are.
_PLAIN = str.maketrans(
    "（）［］【】＜＞｛｝，、；：．＝＋－−～＿“”０１２３４５６７８９\u3000\u00a0",
    '()[][]<>{},,;:.=+--~_""0123456789  ',
)


def plain(text: str) -> str:
    """The text with full-width punctuation, digits and spaces made ASCII; positions stay."""
    return text if text.isascii() else text.translate(_PLAIN)
