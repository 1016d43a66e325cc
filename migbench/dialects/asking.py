"""Asking: a turn in the data set's own wording becomes a request in a family's dialect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from migbench.asking.questions import Purpose, Turn
from migbench.boxes import Box, Order
from migbench.dialects.dialect import Dialect, PromptSet, wording
from migbench.errors import ModelError
from migbench.messages import Generation, ImageFile, Part, Request
from migbench.util.hashing import short_hash

_PHRASE = re.compile(r"<\|object_ref_start\|>(.*?)<\|object_ref_end\|>", re.DOTALL)
_NUMBER = r"(\d{1,9})"  # What has more digits is no coordinate, and stays the text that it is.
_BOX = re.compile(rf"<\|box_start\|>\({_NUMBER},{_NUMBER}\),\({_NUMBER},{_NUMBER}\)<\|box_end\|>")
_BOX_IN_PARENTHESES = re.compile(rf"\({_BOX.pattern}\)")


def ask(
    dialect: Dialect,
    turn: Turn,
    images: Sequence[ImageFile],
    *,
    prompts: PromptSet = PromptSet.RELEASED,
    generation: Generation = Generation(),
) -> Request:
    """The request for a turn; ``images`` is the question's whole image set.

    All images come first, then the question, then the sentence that asks for the format. An answer
    that is to give several boxes has room for as many. Raises `ModelError` where a reference box
    must be written in pixels and its image cannot be read, and where the turn's text holds one of
    the family's structural tokens, which would be taken for an image or for the question's end.
    """
    _refuse_structural_tokens(dialect, turn.text)
    shown = [images[index] for index in turn.images]
    question = rewrite(dialect, turn.text, images, prompts)
    text = dialect.prefix + question + _format(dialect, turn.purpose, prompts)
    before, after = dialect.image.split("{image}")
    parts: list[Part] = []
    for number, image in enumerate(shown, start=1):
        parts += [before.format(k=number), image, after.format(k=number)]
    return Request(
        parts=_joined([*parts, text]),
        generation=msgspec.structs.replace(
            generation, max_new_tokens=generation.max_new_tokens * max(1, len(turn.grounds))
        ),
        image_set=short_hash(*(image.name for image in images)),
    )


def _refuse_structural_tokens(dialect: Dialect, text: str) -> None:
    found = [token for token in dialect.structural_tokens if token in text]
    if found:
        raise ModelError(
            f"the question holds {', '.join(found)}, which {dialect.title} does not take for text "
            f"(structural_tokens of dialect {dialect.name})"
        )


def _format(dialect: Dialect, purpose: Purpose, prompts: PromptSet) -> str:
    match purpose:
        case Purpose.DIRECT:
            return wording(dialect.format, prompts)
        case Purpose.DESCRIBE:
            return ""
        case Purpose.GROUND:
            return wording(dialect.format_of_step_2 or dialect.format, prompts)


def rewrite(dialect: Dialect, text: str, images: Sequence[ImageFile], prompts: PromptSet) -> str:
    """A question with its reference phrases and boxes as the family writes them.

    The data set's reference boxes all lie in the first image.
    """
    text = _PHRASE.sub(lambda match: dialect.phrase.format(phrase=match.group(1)), text)
    if dialect.box is None:
        return _BOX.sub("", _BOX_IN_PARENTHESES.sub("", text))
    template = wording(dialect.box, prompts)
    return _BOX.sub(lambda match: _write_box(dialect, template, match, images), text)


def _write_box(
    dialect: Dialect, template: str, match: re.Match[str], images: Sequence[ImageFile]
) -> str:
    raw = match.groups()
    convention = replace(dialect.convention, order=Order.XYXY)
    size = images[0].size() if convention.needs_size else None
    edges = convention.from_unit(Box(*(int(digits) / 1000 for digits in raw)), size)
    digits = 3 if convention.scale == 1 else 0
    x1, y1, x2, y2 = edges
    numbers = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "w": x2 - x1, "h": y2 - y1}
    fields = {name: f"{number:.{digits}f}" for name, number in numbers.items()}
    raw_fields = zip(("raw_x1", "raw_y1", "raw_x2", "raw_y2"), raw, strict=True)
    return template.format(**fields, **dict(raw_fields))


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts without empty texts, neighbouring texts made one."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)
