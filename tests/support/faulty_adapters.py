"""The transformers adapter with mistakes planted: what an evaluation must not survive unnoticed."""

from __future__ import annotations

from typing import Any

import msgspec

from migbench.messages import Answer, ImageFile, Request
from model_adapters.transformers.adapter import TransformersAdapter


class _Mistaken(TransformersAdapter):
    def mistake(self, images: list[ImageFile]) -> list[ImageFile]:
        raise NotImplementedError

    async def answer(self, request: Request) -> Answer:
        shown = [part for part in request.parts if isinstance(part, ImageFile)]
        texts = [part for part in request.parts if isinstance(part, str)]
        parts: Any = (*self.mistake(shown), *texts)  # Qwen2-VL is shown all images first.
        return await super().answer(msgspec.structs.replace(request, parts=parts))


class ReversesImages(_Mistaken):
    """Shows the images in reverse order."""

    def mistake(self, images: list[ImageFile]) -> list[ImageFile]:
        return images[::-1]


class DropsLastImage(_Mistaken):
    """Forgets the last image."""

    def mistake(self, images: list[ImageFile]) -> list[ImageFile]:
        return images[:-1]
