"""Which image an answer speaks of: "Image-2", "the second picture", "第二张图", "image": 2.

English and Chinese are understood, and the labels of JSON answers. A number beside the word
"image" that counts or measures something else ("image 640x480", "frame 30fps", "the image
(12,40),...") is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from migbench.util.ordinals import CHINESE, WORDS, ordinal

_NOUNS = ("image", "picture", "photo", "frame", "img", "pic")
_CHINESE_NOUNS = ("图", "照片", "帧")
_NOUN = rf"(?:{'|'.join(_NOUNS)})"
_INDEX = r"(?:[\s_-]?(?:index|idx|id|number|num|no))?"
_KIND = r"(?:(?:input|given|provided|reference|query)[\s_-])?"
# What may not follow an image's number: more of it or of a word, an "x 480", a list, a per cent.
_WHOLE = r"(?![0-9a-z_]|\.\d|\s{0,2}[x×*]\s{0,2}\d|\s?,\s?\d|\s?%)"
_MENTION = re.compile(
    rf"\b{_NOUN}{_INDEX}[\s\"':#_.*-]{{0,4}}(\d{{1,2}}){_WHOLE}"
    rf"|\b{_NOUN}{_INDEX}\s?[(\[](\d{{1,2}})[)\]]"
    rf"|图[片像]?\s?[:#_-]?\s?(\d{{1,2}}){_WHOLE}"
    rf"|\b(\d{{1,2}}(?:st|nd|rd|th)|{'|'.join(WORDS)})[\s_-]{{1,3}}{_KIND}{_NOUN}\b"
    rf"|第\s?([{CHINESE}]|\d{{1,2}})\s?(?:[张幅个]?\s?(?:图|照片)|帧)"
    # "图一" is figure one, but "图一样" says that the pictures are alike.
    rf"|图[片像]?([{CHINESE}])(?=\W|[中里内的和与]|$)",
    re.IGNORECASE,
)
_PLAIN_NUMBERS = (1, 2, 3)
"""The groups of `_MENTION` that hold a plain number; the others hold an ordinal."""


class Mention(NamedTuple):
    """An image that a text names, counted from 0, and where in the text."""

    image: int
    start: int


def image_mentions(text: str, first: int = 1) -> list[Mention]:
    """Every mention of an image by number, in order.

    Plain numbers count from ``first``, which is declared; ordinals count from one. What counts
    below that names nothing.

    >>> [mention.image for mention in image_mentions("Image-2: a dog. In the third image, a cat.")]
    [1, 2]
    >>> [mention.image for mention in image_mentions('{"image": 0}, {"image": 1}', first=0)]
    [0, 1]
    """
    lowered = text.lower()
    if not any(noun in lowered for noun in (*_NOUNS, *_CHINESE_NOUNS)):
        return []  # Most answers are a box and no more; this is many times quicker.
    images = ((_image(each, first), each.start()) for each in _MENTION.finditer(text))
    return [Mention(image, start) for image, start in images if image >= 0]


def _image(match: re.Match[str], first: int) -> int:
    return _number(match) - (first if _is_plain(match) else 1)


_FIELD = re.compile(rf"(?:{_KIND})?{_NOUN}{_INDEX}", re.IGNORECASE)
_LONGEST_FIELD = 60


def image_of_field(
    key: str, value: str | float, first: int = 1, names: Iterable[str] = ()
) -> int | None:
    """The image, from 0, that a field names: ``"image_id": 2`` or ``"image": "Picture 2"``.

    ``names`` are keys beside the usual ones.

    >>> image_of_field("image_id", 2.0), image_of_field("asset_idx", "0", 0, ["asset_idx"])
    (1, 0)
    """
    if not (key.lower() in names or (len(key) <= _LONGEST_FIELD and _FIELD.fullmatch(key))):
        return None
    if isinstance(value, str):
        value = value.strip()[:_LONGEST_FIELD]
        if not value.isdecimal():
            if mentions := image_mentions(value, first):
                return mentions[0].image
            place = ordinal(value)
            return None if place is None else place - 1
    number = float(value)
    return int(number) - first if number.is_integer() and first <= number < 1000 else None


def image_of_key(key: str, first: int = 1) -> int | None:
    """The image, from 0, that a key is the name of: ``{"image_2": ...}``."""
    match = _MENTION.fullmatch(key) if len(key) <= _LONGEST_FIELD else None
    image = _image(match, first) if match else -1
    return image if image >= 0 else None


_REGION_MENTION = re.compile(
    rf"\bregion(?:[\s_-]picture)?{_INDEX}[\s\"':#_.*-]{{0,4}}(\d{{1,2}}){_WHOLE}"
    rf"|\b(\d{{1,2}}(?:st|nd|rd|th)|{'|'.join(WORDS)})[\s_-]{{1,3}}region\b"
    rf"|第\s?([{CHINESE}]|\d{{1,2}})\s?[张幅个块]?\s?区域"
    rf"|区域\s?[:#_-]?\s?([{CHINESE}]|\d{{1,2}})",
    re.IGNORECASE,
)


def region_mentions(text: str) -> list[Mention]:
    """Every mention of a region by number, as of images; ``image`` is the region's, from 0.

    >>> [mention.image for mention in region_mentions("Region-1: a dog. The second region: a cat.")]
    [0, 1]
    """
    found = ((_number(match), match.start()) for match in _REGION_MENTION.finditer(text))
    return [Mention(number - 1, start) for number, start in found if number]


def _number(match: re.Match[str]) -> int:
    return ordinal(match.group(match.lastindex or 0)) or 0


def _is_plain(match: re.Match[str]) -> bool:
    return match.lastindex in _PLAIN_NUMBERS
