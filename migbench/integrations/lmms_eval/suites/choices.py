"""Which of a question's options an answer chooses, by rule; None where it is not clear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_LETTER_ALONE = re.compile(r"\W*([A-Z])\W*", re.IGNORECASE)
_STATED = re.compile(r"\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*[(\[*\"']*([A-Z])\b(?!['’]\w)")
_LEADING = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[.:)](?=\s|$))")


def chosen_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that an answer gives, or whose text it gives.

    >>> options = {"A": "the second image", "B": "the third image"}
    >>> [chosen_letter(text, options) for text in ("(B).", "B: the third", "The answer is A.")]
    ['B', 'B', 'A']
    >>> chosen_letter("It is the third image.", options)
    'B'
    >>> chosen_letter("A man stands in both.", options) is None
    True
    """
    for letter in _letters(text):
        if letter in options:
            return letter
    place = chosen_option(text, [*options.values()])
    return None if place is None else [*options][place]


def _letters(text: str) -> list[str]:
    """The letters that an answer may mean, the plainest first."""
    if alone := _LETTER_ALONE.fullmatch(text):
        return [alone.group(1).upper()]
    stated = _STATED.findall(text)
    leading = _LEADING.match(text)
    return [*stated[-1:], *(leading.group(leading.lastindex or 0) for _ in [leading] if leading)]


def chosen_option(text: str, options: Sequence[str]) -> int | None:
    """The place of the one option whose text an answer is, or else holds as whole words.

    >>> chosen_option("Left image. ", ["left image", "right image"])
    0
    >>> chosen_option("It is 12, not 11.", ["1", "12"])
    1
    >>> chosen_option("Either the left or the right.", ["left", "right"]) is None
    True
    """
    said = _plain(text)
    plain = [_plain(option) for option in options]
    if said in plain:
        return plain.index(said)
    held = [place for place, option in enumerate(plain) if option and _holds(said, option)]
    # An option may be part of a longer one, which then is what was said.
    longest = [
        place
        for place in held
        if not any(plain[place] != plain[other] and plain[place] in plain[other] for other in held)
    ]
    return longest[0] if len(longest) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .")


def _holds(text: str, option: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text) is not None
