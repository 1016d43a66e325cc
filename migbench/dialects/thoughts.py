"""Where the final part of an answer lies: what a model thinks aloud before it is no answer.

Marks are literal and declared by the dialect; letter case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import msgspec


class ThinkingMarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands before and after a thought."""

    start: str
    end: str

    def __post_init__(self) -> None:
        """Raise ValueError where a mark is empty."""
        if not self.start or not self.end:
            raise ValueError("thinking marks need a start and an end, neither of them empty")


KNOWN_MARKS = tuple(
    ThinkingMarks(start, end)
    for start, end in (
        ("<think>", "</think>"),  # Qwen3, DeepSeek-R1, GLM, MiMo, UniVG-R1 and most others
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),  # Seed-OSS
        ("◁think▷", "◁/think▷"),  # Kimi-VL
        ("[THINK]", "[/THINK]"),  # Magistral
        ("<|channel|>analysis", "<|channel|>final<|message|>"),  # harmony (gpt-oss)
        ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    )
)
"""The marks of a dialect that declares none of its own: no family writes boxes in them."""


class FinalPart(NamedTuple):
    """Start and end of the final part; ``is_thought`` where an answer holds nothing but a thought.

    ``is_cut`` where the token limit ended the answer inside that thought.
    """

    start: int
    end: int
    is_thought: bool = False
    is_cut: bool = False


_ANSWER_START = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_END = re.compile(r"</answer>", re.IGNORECASE)
_ANSWERS_AT_ONCE = re.compile(r"\s{0,99}(?:```|[\[{(]\s{0,99}[\[{(\"'\d.-]|<[|\w]|[-.\d])")
"""How an answer begins that was not thought over: with its box, and not with words."""


def final_part(
    text: str,
    marks: Sequence[ThinkingMarks] = KNOWN_MARKS,
    *,
    opened_by_template: bool = False,
    truncated: bool = False,
) -> FinalPart:
    """The part of an answer that is final.

    The last ``<answer>`` after the last thought; else what follows that thought; else the whole
    text. A thought that never ends leaves no final part, unless an ``<answer>`` stands in it.

    Where the prompt's template may have opened the thought, a truncated answer without the end of
    a thought lies within it, unless it begins with a box. One that ended of its own accord was
    given without a thought, or a server has taken the thought away.

    >>> final_part("<think>maybe [1, 2, 3, 4]</think>[5, 6, 7, 8]")[:2]
    (33, 45)
    """
    starts, ends = (_any_of(each) for each in (_starts(marks), _ends(marks)))
    start = 0
    has_thought = False
    for thought in ends.finditer(text):
        start, has_thought = thought.end(), True
    answers = list(_ANSWER_START.finditer(text, start))
    if answers:
        start = answers[-1].end()
        closing = _ANSWER_END.search(text, start)
        return FinalPart(start, closing.start() if closing else len(text))
    unfinished = starts.search(text, start)
    end = unfinished.start() if unfinished else len(text)
    if unfinished or has_thought:
        is_blank = not text[start:end].strip()
        return FinalPart(start, end, is_blank, is_blank and truncated)
    if opened_by_template and truncated and text.strip() and not _ANSWERS_AT_ONCE.match(text):
        return FinalPart(0, 0, is_thought=True, is_cut=True)
    return FinalPart(start, end)


def _starts(marks: Iterable[ThinkingMarks]) -> tuple[str, ...]:
    return tuple(mark.start for mark in marks)


def _ends(marks: Iterable[ThinkingMarks]) -> tuple[str, ...]:
    return tuple(mark.end for mark in marks)


@cache
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    # Without a word nothing is found: no text matches an empty set of characters.
    return re.compile("|".join(map(re.escape, words)) or r"[^\s\S]", re.IGNORECASE)
