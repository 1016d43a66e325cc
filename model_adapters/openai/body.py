"""The body of a chat-completions request, as pieces of JSON around the images' original bytes.

A multi-image request weighs megabytes, nearly all of it base64. So the JSON is written with a gap
where each image stands, and the images stay pieces of their own: nothing large is ever copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any

from migbench.messages import ImageFile, ModelError, Part, Request
from model_adapters.openai.images import ImageUrl

Pieces = tuple[bytes, ...]
"""Consecutive parts of one JSON text; those with an image are shared between requests."""

_GAP = '"url": null'
"""Stands for an image until its piece is put there; quotes inside texts are escaped, so no text
can hold it."""


@dataclass(frozen=True, slots=True)
class BodyFormat:
    """What the bodies for one server have in common.

    ``omit`` are generation settings that the server does not accept, by their names in the body;
    ``extra`` are fields passed through; ``image_detail`` is the API's ``detail`` of an image.
    """

    model: str
    max_tokens_field: str = "max_tokens"
    omit: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    image_detail: str | None = None

    def pieces(
        self,
        request: Request,
        images: Sequence[ImageUrl],
        neutral: Mapping[str, float | int] = MappingProxyType({}),
    ) -> Pieces:
        """The body of a request that shows ``images``, in order.

        ``neutral`` are fields that keep the server from adding decoding settings of its own. Raises
        `ModelError` for what the API cannot express.
        """
        fields = json.dumps(self._fields(request, neutral))
        before, *texts = json.dumps(self._messages(request)).split(_GAP)
        before = f'{fields[:-1]}, "messages": {before}'
        pieces: list[bytes] = []
        for image, text in zip(images, texts, strict=True):
            pieces += [f'{before}"url": "{image.prefix}'.encode(), image.rest]
            before = f'"{text}'
        return (*pieces, (before + "}").encode())

    def _fields(self, request: Request, neutral: Mapping[str, float | int]) -> dict[str, Any]:
        """Every field but the messages."""
        asked = request.generation
        if asked.num_beams != 1:
            raise ModelError(
                f"num_beams {asked.num_beams}: chat completions know no beam search; set it to 1"
            )
        generation = {
            **neutral,
            self.max_tokens_field: asked.max_new_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": asked.seed,
        }
        kept = {name: value for name, value in generation.items() if name not in self.omit}
        return {"model": self.model, **kept, **self.extra}

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        """The chat, with a gap (see `_GAP`) for each image, in order."""
        system = [{"role": "system", "content": request.system}] if request.system else []
        return [*system, {"role": "user", "content": self._content(request)}]

    def _content(self, request: Request) -> str | list[dict[str, Any]]:
        if not request.images:
            return request.text()
        image_url = {"url": None} | ({"detail": self.image_detail} if self.image_detail else {})
        image = {"type": "image_url", "image_url": image_url}
        return [
            image if isinstance(part, ImageFile) else {"type": "text", "text": part}
            for part in _with_texts_joined(request.parts)
        ]


def _with_texts_joined(parts: Sequence[Part]) -> list[Part]:
    """The parts with neighbouring texts made one: servers join separate ones by a line break."""
    joined: list[Part] = []
    for is_text, run in groupby(parts, key=lambda part: isinstance(part, str)):
        if is_text:
            text = "".join(str(part) for part in run)
            joined += [text] if text else []
        else:
            joined += run
    return joined
