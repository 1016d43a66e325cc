"""Ordinal numbers as data sets and models write them: first, 2nd, 2th, 3, 第三."""

from __future__ import annotations

import re

WORDS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
)
CHINESE = "一二三四五六七八九十"

_NUMERAL = re.compile(r"(\d{1,4})(?:st|nd|rd|th)?")


def ordinal(text: str) -> int | None:
    """The number, counted from 1, that an ordinal or a plain number stands for; else None.

    >>> [ordinal(word) for word in ("second", "2th", "2", "二", "dog")]
    [2, 2, 2, 2, None]
    """
    text = text.strip().lower()
    if text in WORDS:
        return WORDS.index(text) + 1
    if len(text) == 1 and text in CHINESE:
        return CHINESE.index(text) + 1
    numeral = _NUMERAL.fullmatch(text)
    return int(numeral.group(1)) if numeral else None
