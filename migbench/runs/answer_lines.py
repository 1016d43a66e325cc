"""A stored answer, and the lines of ``answers.jsonl`` as they lie there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from migbench.errors import DataError
from migbench.messages import Size
from migbench.util.input_files import MIB, open_regular
from migbench.util.json_files import INVALID, trouble

ANSWERS = "answers.jsonl"
LONGEST_LINE = 64 * MIB
"""Bytes of an answer's line; longer ones are not read."""

Pixels = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
"""The side of an image."""


class AnswerLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of one question: what was said, or why nothing was.

    ``key`` identifies the request: model, texts, image bytes and generation settings. ``sizes`` are
    the question's images' (width, height) in pixels, kept where the dialect counts in pixels.
    """

    question: str
    turn: Annotated[int, msgspec.Meta(ge=0)] = 0
    key: str = ""
    prompt: str = ""
    text: str | None = None
    truncated: bool = False
    refused: bool = False
    """A content filter stood in the way; ``text`` is what came in the answer's place."""
    error: str | None = None
    sizes: list[tuple[Pixels, Pixels]] | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    reused: bool = False
    """Copied from an equal request's answer instead of asked again."""

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


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file of answers as they lie there; none where there is no file.

    Raises `DataError` where it is no regular file, or a line is longer than any answer.
    """
    if not path.exists():
        return
    with open_regular(path) as file:
        number = 1
        while line := file.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{path}:{number}: has more than {LONGEST_LINE:,} bytes")
            yield line
            number += 1


def read_lines(path: Path) -> Iterator[AnswerLine]:
    """All that was stored, in that order, failures that an answer followed too."""
    decoder = msgspec.json.Decoder(AnswerLine)
    for number, line in enumerate(raw_lines(path), start=1):
        if not line.endswith(b"\n"):
            return  # Cut off when its writer was killed.
        try:
            if line.strip():  # An editor may leave a blank line at the end.
                yield decoder.decode(line)
        except INVALID as error:
            raise DataError(
                f"{path}:{number}: is not a stored answer: {trouble(error, line)}; "
                f"delete it, by `migbench verify --repair {path.parent}`: "
                "the command that made the run then asks its question again"
            ) from error
