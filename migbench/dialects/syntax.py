"""The ways in which models write four numbers for a box, as patterns that take linear time.

Every repetition is bounded, so that no answer, however long or hostile, is slow to search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache

_N = r"([-+]?(?:\d{1,7}(?:\.\d{0,12})?|\.\d{1,12}))"
_S = r"\s{0,8}"
_COMMA = rf"{_S},{_S}"
_APART = rf"(?:{_COMMA}|\s{{1,8}})"
_TO = "(?:[,;~–→-]|->|to|and|到|至|和)?"


class Syntax(StrEnum):
    """A way of writing a box. Brackets may be doubled, spaces loose, Chinese punctuation used."""

    CORNER_PAIRS = "corner-pairs"
    """``(x1,y1),(x2,y2)`` (Qwen2-VL, with or without its box tokens)"""
    QUAD = "quad"
    """``[a, b, c, d]`` or ``(a, b, c, d)``, bare, in JSON or in ``<box>``"""
    BOX_TAG = "box-tag"
    """``<box>a b c d</box>`` (MiniCPM-V), commas and brackets inside allowed. The tags are special
    tokens, which some servers strip: four numbers that are the whole answer are a box as well."""
    LOCATION_TOKENS = "location-tokens"
    """``<loc0001><loc0002><loc0003><loc0004>`` (PaliGemma), ``<loc_1>``... (Florence-2)"""
    ATTRIBUTES = "attributes"
    """``x1="1" y1="2" x2="3" y2="4"``, with or without quotes, in this order"""


PATTERNS: dict[Syntax, str] = {
    Syntax.CORNER_PAIRS: (
        rf"\({_S}{_N}{_COMMA}{_N}{_S}\){_S}{_TO}{_S}\({_S}{_N}{_COMMA}{_N}{_S}\)"
    ),
    Syntax.QUAD: rf"[\[(]{_S}{_N}{_COMMA}{_N}{_COMMA}{_N}{_COMMA}{_N}{_S}[\])]",
    Syntax.BOX_TAG: (
        rf"(?:<box>|\A){_S}[\[(]{{0,2}}{_S}{_N}{_APART}{_N}{_APART}{_N}{_APART}{_N}"
        rf"{_S}[\])]{{0,2}}{_S}(?:</box>|\Z)"
    ),
    Syntax.LOCATION_TOKENS: rf"<loc_?(\d{{1,4}})>{_S}" * 4,
    Syntax.ATTRIBUTES: (_S + r"[,;]?" + _S).join(
        rf"[\"']?\b{name}[\"']?{_S}[=:]{_S}[\"']?{_N}[\"']?" for name in ("x1", "y1", "x2", "y2")
    ),
}

# One character each, so that positions in the text stay what they are.
_PLAIN = str.maketrans(
    "（）［］【】＜＞，、；：．＝＋－−～＂“”０１２３４５６７８９\u3000\u00a0",
    '()[][]<>,,;:.=+--~"""0123456789  ',
)


def plain(text: str) -> str:
    """The text with full-width punctuation, digits and spaces made ASCII; positions stay."""
    return text if text.isascii() else text.translate(_PLAIN)


@cache
def box_pattern(syntaxes: Iterable[Syntax]) -> re.Pattern[str]:
    """A pattern that finds boxes in any of these ways; each alternative has four number groups."""
    return re.compile("|".join(PATTERNS[syntax] for syntax in syntaxes), re.IGNORECASE | re.ASCII)
