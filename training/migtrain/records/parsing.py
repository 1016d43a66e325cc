"""One conversation record, parsed strictly.

MGrounding-630k writes it as::

    {"id": "…", "images": ["./MGrounding-630k/Group_Grounding/…/sa_1.jpg", …],
     "conversations": [{"from": "human", "value": "<image>\\n<image>\\nWhere is …?"},
                       {"from": "gpt", "value": "It's in the first image. <|box_start|>…"}],
     "type": "group_grounding"}

``<image>`` stands where an image is shown. Boxes are in thousandths of their image, x1 y1 x2 y2.

LLaMA-Factory is not strict: it drops a record with a wrong role or an odd number of turns with a
warning, and trains on malformed boxes, empty answers and truncated records in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from migbench.data.instances import normalise_path
from migbench.mini.conversations import IMAGE, Conversation, Round

CHAT_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Tokens that structure a chat. In a record's text they would forge turns and images."""
OTHER_MEDIA = ("<video>", "<audio>")
"""LLaMA-Factory's placeholders of media that no record here has."""

KINDS = {
    "common_train": "common_object",
    "diff_train": "diff",
    "free_form": "free_form_grounding",
    "gg_reg": "group_grounding",
    "gg_train": "group_grounding",
    "ot_train": "object_tracking",
    "refer_train": "refer_grounding",
    "region_train": "region",
}
"""What MGrounding-630k's card and its files' names call a kind -> its name here, a task's key."""

FOLDERS = {
    "Common_Object": "common_object",
    "Difference": "diff",
    "Free-Form": "free_form_grounding",
    "Group_Grounding": "group_grounding",
    "Object_Tracking": "object_tracking",
    "Referring_Grounding": "refer_grounding",
    "Region_Locating": "region",
}
"""The folders of MGrounding-630k, which tell the kind of a record without a ``type``."""

UNSPECIFIED = "unspecified"
"""The kind of a record of which nothing tells it."""

_BOX_TOKEN = re.compile(r"<\|?box_(?:start|end)\|?>")
_BOX = re.compile(
    r"<\|box_start\|>\(([0-9]{1,4}),\s?([0-9]{1,4})\),\s?\(([0-9]{1,4}),\s?([0-9]{1,4})\)<\|box_end\|>"
)


class ErrorKind(StrEnum):
    """Why a record cannot be trained on."""

    NOT_AN_OBJECT = "not a JSON object"
    IMAGE_LIST = "no list of image paths"
    OUTSIDE = "an image path leaves the data folder"
    MISSING_IMAGE = "an image is missing"
    CORRUPT_IMAGE = "an image cannot be decoded"
    TURNS = "not questions and answers in turn"
    EMPTY = "an empty question or answer"
    PLACEHOLDERS = "not one <image> an image"
    TOKENS = "chat tokens in the text"
    BOXES = "a malformed box"
    TOO_LONG = "longer than cutoff_len"


class RecordError(ValueError):
    """A record that cannot be trained on, and why."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def parse_conversation(content: object, kind: str | None = None) -> Conversation:
    """The conversation that a record holds; ``kind`` is that of records which name none.

    Raises `RecordError`.
    """
    if not isinstance(content, Mapping):
        raise RecordError(ErrorKind.NOT_AN_OBJECT, f"found {type(content).__name__}")
    images = _images(content.get("images", []))
    rounds = _rounds(content.get("conversations"))
    shown = sum(each.question.count(IMAGE) for each in rounds)
    if shown != len(images):
        raise RecordError(ErrorKind.PLACEHOLDERS, f"{shown} {IMAGE} for {len(images)} images")
    return Conversation(
        id=str(content.get("id", "")),
        kind=_kind(content.get("type"), images, kind),
        images=images,
        rounds=rounds,
    )


def _images(content: object) -> tuple[str, ...]:
    if not isinstance(content, list) or not all(isinstance(path, str) for path in content):
        raise RecordError(ErrorKind.IMAGE_LIST, f"'images' is {_short(content)}")
    try:
        return tuple(normalise_path(path) for path in content)
    except ValueError as error:
        raise RecordError(ErrorKind.OUTSIDE, str(error)) from error


def _rounds(content: object) -> tuple[Round, ...]:
    if not isinstance(content, list) or not content:
        raise RecordError(ErrorKind.TURNS, f"'conversations' is {_short(content)}")
    texts = [
        _text(turn, number, "gpt" if number % 2 else "human") for number, turn in enumerate(content)
    ]
    if len(texts) % 2:
        raise RecordError(ErrorKind.TURNS, f"{len(texts)} turns: the last question has no answer")
    return tuple(
        Round(question, answer) for question, answer in zip(texts[::2], texts[1::2], strict=True)
    )


def _text(turn: object, number: int, speaker: str) -> str:
    if not isinstance(turn, Mapping) or turn.get("from") != speaker:
        raise RecordError(ErrorKind.TURNS, f"turn {number} is {_short(turn)}, not by {speaker!r}")
    text = turn.get("value")
    if not isinstance(text, str) or not text.replace(IMAGE, "").strip():
        raise RecordError(ErrorKind.EMPTY, f"turn {number} is {_short(text)}")
    if speaker == "gpt" and IMAGE in text:
        raise RecordError(ErrorKind.PLACEHOLDERS, f"turn {number}, an answer, shows an image")
    for token in OTHER_MEDIA:
        if token in text:
            raise RecordError(ErrorKind.PLACEHOLDERS, f"turn {number} shows a {token}")
    for token in CHAT_TOKENS:
        if token in text:
            raise RecordError(ErrorKind.TOKENS, f"turn {number} holds {token}")
    if speaker == "gpt":
        _check_boxes(text, number)
    return text


def _check_boxes(text: str, number: int) -> None:
    """Whether every box token of an answer belongs to a whole box within 0-1000.

    Questions may name the tokens alone, to say which format is wanted.
    """
    without_boxes = _BOX.sub("", text)
    if broken := _BOX_TOKEN.search(without_boxes):
        place = _short(without_boxes[broken.start() :])
        raise RecordError(ErrorKind.BOXES, f"turn {number}: {place}")
    for box in _BOX.finditer(text):
        x1, y1, x2, y2 = map(int, box.groups())
        if not (x1 < x2 <= 1000 and y1 < y2 <= 1000):
            raise RecordError(ErrorKind.BOXES, f"turn {number}: ({x1},{y1}),({x2},{y2})")


def _kind(content: object, images: tuple[str, ...], default: str | None) -> str:
    if isinstance(content, str) and content:
        return KINDS.get(content, content)
    folders = [
        FOLDERS[part] for image in images[:1] for part in image.split("/") if part in FOLDERS
    ]
    return folders[0] if folders else default or UNSPECIFIED


def _short(content: object) -> str:
    text = repr(content)
    return text if len(text) <= 60 else text[:57] + "..."
