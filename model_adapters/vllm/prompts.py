"""From requests to what vLLM takes: a chat with images, and sampling settings, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from migbench.messages import Generation, ImageFile, ModelError, Part, Request
from model_adapters.vllm.images import DecodedImage

__all__ = ["chat", "check", "sampling"]


def check(request: Request, *, max_images: int) -> None:
    """Raise `ModelError` for what the engine was not set up for, before anything is decoded."""
    if request.generation.num_beams != 1:
        raise ModelError(
            f"num_beams {request.generation.num_beams}: vLLM's engine has no beam search; "
            "set it to 1, or use --adapter transformers"
        )
    if len(request.images) > max_images:
        raise ModelError(
            f"the request shows {len(request.images)} images, and the engine takes {max_images}: "
            f"--model-arg max_images={len(request.images)}"
        )


def chat(request: Request, images: Sequence[DecodedImage]) -> list[dict[str, Any]]:
    """The request as chat messages, its parts in order; ``images`` are its images, decoded."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": list(_content(request.parts, images))}
    ]
    if request.system is not None:
        messages.insert(0, {"role": "system", "content": request.system})
    return messages


def _content(parts: Sequence[Part], images: Sequence[DecodedImage]) -> Iterator[dict[str, Any]]:
    """The parts of a message, with neighbouring texts made one.

    Where a chat template takes text alone, vLLM puts a line break between the parts of a message.
    """
    decoded = iter(images)
    for is_image, run in groupby(parts, key=lambda part: isinstance(part, ImageFile)):
        if not is_image:
            yield {"type": "text", "text": "".join(map(str, run))}
            continue
        for _ in run:
            image = next(decoded)
            yield {"type": "image_pil", "image_pil": image.pixels, "uuid": image.media_id}


def sampling(generation: Generation) -> dict[str, Any]:
    """The keywords of vLLM's ``SamplingParams``, but for the most tokens.

    They leave nothing for a checkpoint's own decoding settings to fill in. Tokens are not turned
    into text on the way: that is done once, at the end, and special tokens stay.
    """
    return {
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "seed": generation.seed,
        "detokenize": False,
    }
