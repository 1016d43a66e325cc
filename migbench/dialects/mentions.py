"""Which image an answer speaks of: "Image-2", "the second picture", "第二张图", "image": 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from migbench.ordinals import CHINESE, WORDS, ordinal

_NOUN = r"(?:image|picture|photo|frame|img|pic)"
_MENTION = re.compile(
    rf"\b{_NOUN}(?:_?(?:index|idx|id|number|no))?[\s\"':#_.(-]{{0,4}}(\d{{1,3}})(?![\d.])"
    rf"|\b(\d{{1,3}}(?:st|nd|rd|th)|{'|'.join(WORDS)})[\s_-]{{1,3}}{_NOUN}\b"
    rf"|第\s?([{CHINESE}]|\d{{1,3}})\s?[张幅个]?\s?(?:图|照片)"
    rf"|图(?:片|像)?\s?([{CHINESE}]|\d{{1,3}})",
    re.IGNORECASE,
)


class Mention(NamedTuple):
    """An image that a text names, counted from 0, and where in the text."""

    image: int
    start: int


def image_mentions(text: str) -> Iterator[Mention]:
    """Every mention of an image by number, in order; images count from 1 in the text.

    >>> [mention.image for mention in image_mentions("Image-2: a dog. In the third image, a cat.")]
    [1, 2]
    """
    for match in _MENTION.finditer(text):
        number = ordinal(match.group(match.lastindex or 0))
        if number:
            yield Mention(number - 1, match.start())
