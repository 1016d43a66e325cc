"""Why an answer gives no box: what became of it, and of an unreadable one what it holds instead."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from migbench.dialects.json_boxes import KNOWN_KEYS, JsonFindings, read_json
from migbench.dialects.lenient_json import JsonValue
from migbench.dialects.refusals import is_refusal
from migbench.dialects.syntax import KNOWN_CORNERS, NUMBER, Syntax, Ways, find_matches


class ParseFailure(StrEnum):
    """Why an answer gave no box; the first that applies."""

    TRUNCATED = "truncated"
    """The token limit was reached before a box was complete."""
    REFUSED = "refused"
    """The model says that it cannot, or that there is nothing to find."""
    UNREADABLE = "unreadable"
    """No box in the declared syntax; `Reason` says what is there instead."""


class Reason(StrEnum):
    """What an unreadable answer holds; the first that applies."""

    THOUGHT_ONLY = "thought only"
    EMPTY = "empty"
    POINT = "a point, not a box"
    POLYGON = "a polygon, not a box"
    NO_NUMBERS = "no numbers"
    OTHER_SYNTAX = "other syntax"
    """Numbers, but no box in the declared syntax."""


class Failure(NamedTuple):
    """What became of an answer without a box. Every unreadable one has a reason, others none."""

    failure: ParseFailure
    reason: Reason | None = None


_POINT = re.compile(
    r"<\|?points?\b|\bpoint_?2d\b|\bpoints?[\"']\s{0,8}:|<\|point_start\|>"
    # Rex-Omni writes a point as two number tokens.
    r"|<\|box_start\|>\s{0,8}<\d{1,4}>\s{0,8}<\d{1,4}>\s{0,8}(?!<\d)",
    re.IGNORECASE,
)
_POLYGON = re.compile(r"<\|?(?:quad_start|polygon|quad|poly)\b", re.IGNORECASE)
_CORNERS = Ways((Syntax.CORNER_PAIRS,), ("[]", "()"), ())
_FLAT_POLYGON = re.compile(
    rf"[\[(]\s{{0,8}}(?:{NUMBER}\s{{0,8}},\s{{0,8}}){{5,63}}{NUMBER}\s{{0,8}}[\])]", re.ASCII
)
_PAIR_ALONE = re.compile(
    rf"[^\d\[(]{{0,200}}[\[(]{{1,2}}\s{{0,8}}{NUMBER}\s{{0,8}},\s{{0,8}}{NUMBER}\s{{0,8}}[\])]{{1,2}}"
    r"[^\d\[(]{0,200}",
    re.ASCII,
)
_ANY_NUMBER = re.compile(r"(?<![^\W_])[-+]?\.?\d", re.ASCII)


def explain(
    text: str,
    *,
    truncated: bool = False,
    json: JsonFindings | None = None,
    has_polygon: bool = False,
) -> Failure:
    """Why a text, the final part of an answer, has no box.

    ``json`` is what its JSON holds and ``has_polygon`` what its patterns found, where these were
    looked at already.

    >>> explain("There are none.").failure.value, explain("<point>3 4</point>").reason.value
    ('refused', 'a point, not a box')
    """
    if truncated:
        return Failure(ParseFailure.TRUNCATED)
    if not text.strip():
        return Failure(ParseFailure.UNREADABLE, Reason.EMPTY)
    found = json or read_json(text, KNOWN_KEYS, KNOWN_CORNERS, _no_image)
    if found.has_point or _POINT.search(text):
        return Failure(ParseFailure.UNREADABLE, Reason.POINT)
    if found.has_polygon or has_polygon or _is_polygon(text):
        return Failure(ParseFailure.UNREADABLE, Reason.POLYGON)
    if found.has_nothing or is_refusal(text):
        return Failure(ParseFailure.REFUSED)
    if _PAIR_ALONE.fullmatch(text):
        return Failure(ParseFailure.UNREADABLE, Reason.POINT)
    has_numbers = _ANY_NUMBER.search(text) is not None
    return Failure(
        ParseFailure.UNREADABLE, Reason.OTHER_SYNTAX if has_numbers else Reason.NO_NUMBERS
    )


def _is_polygon(text: str) -> bool:
    """Whether corners stand in a row, or a list holds six numbers or more, as many x as y."""
    if _POLYGON.search(text) or find_matches(text, _CORNERS).has_polygon:
        return True
    return any(match.group().count(",") % 2 for match in _FLAT_POLYGON.finditer(text))


def _no_image(key: str, value: JsonValue) -> int | None:
    return None
