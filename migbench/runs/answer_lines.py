"""A stored answer, and its line in ``answers.jsonl``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import msgspec

from migbench.errors import DataError
from migbench.messages import Answer, Size
from migbench.util.redaction import redact

Pixels = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
"""The side of an image."""


class AnswerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one question: the model's answer, or the error in its place.

    ``key`` identifies the request: model, texts, image bytes and generation settings. ``sizes`` are
    the question's images' (width, height) in pixels, kept where the dialect counts in pixels.
    """

    question: str
    turn: int = 0
    key: str = ""
    prompt: str = ""
    answer: Answer | None = None
    error: str | None = None
    sizes: list[tuple[Pixels, Pixels]] | None = None
    reused: bool = False
    """Copied from an equal request's answer instead of asked again."""

    @property
    def text(self) -> str | None:
        """What was said; None where the request failed."""
        return None if self.answer is None or self.error is not None else self.answer.text

    def size(self, image: int) -> Size | None:
        """The size of the question's image of this number, from 0, where the run kept sizes.

        Raises `DataError` where it kept fewer than there are images.
        """
        if self.sizes is None:
            return None
        if image >= len(self.sizes):
            raise DataError(
                f"the answer to {self.question} has the sizes of {len(self.sizes)} images, and it "
                f"has more: it was not stored so; `migbench verify` tells what was changed"
            )
        return Size(*self.sizes[image])


Lines = Mapping[tuple[str, int], AnswerLine]
"""Stored answers by question and turn."""


class _StoredLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same as it lies in the file, where the answer's fields stand among the line's."""

    question: str
    turn: Annotated[int, msgspec.Meta(ge=0)] = 0
    key: str = ""
    prompt: str = ""
    text: str | None = None
    truncated: bool = False
    refused: bool = False
    error: str | None = None
    sizes: list[tuple[Pixels, Pixels]] | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    reused: bool = False


_DECODER = msgspec.json.Decoder(_StoredLine)
_ENCODER = msgspec.json.Encoder()


def encode_line(line: AnswerLine) -> bytes:
    """A line of ``answers.jsonl``, without its end."""
    answer = line.answer or _NOTHING
    return _ENCODER.encode(
        _StoredLine(
            question=line.question,
            turn=line.turn,
            key=line.key,
            prompt=line.prompt,
            text=line.text,
            truncated=answer.truncated,
            refused=answer.refused,
            error=line.error,
            sizes=line.sizes,
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=answer.cached_tokens,
            completion_tokens=answer.completion_tokens,
            seconds=answer.seconds,
            reused=line.reused,
        )
    )


_NOTHING = Answer("")


def decode_line(content: bytes) -> AnswerLine:
    """A line of ``answers.jsonl``. Raises one of `INVALID`."""
    stored = _DECODER.decode(content)
    answer = None
    # Imported refusals may have an error in the place of a text.
    if stored.text is not None or stored.refused:
        answer = Answer(
            stored.text or "",
            stored.truncated,
            stored.prompt_tokens,
            stored.cached_tokens,
            stored.completion_tokens,
            stored.seconds,
            stored.refused,
        )
    return AnswerLine(
        question=stored.question,
        turn=stored.turn,
        key=stored.key,
        prompt=stored.prompt,
        answer=answer,
        error=stored.error,
        sizes=stored.sizes,
        reused=stored.reused,
    )


def with_answer(line: AnswerLine, answer: Answer) -> AnswerLine:
    """The line of a request, with its answer; secrets in it are taken out."""
    text = redact(answer.text, is_answer=not answer.refused)
    return msgspec.structs.replace(line, answer=dataclasses.replace(answer, text=text))
