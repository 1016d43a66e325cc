"""Runs a vision-language model in vLLM's engine, started by this process.

The engine works on one continuous queue: requests enter it as they come and leave it as they
finish, and none waits for a batch to fill. While it is busy, worker threads decode the images of
requests to come. An image is known to the engine by its content, so what the engine has computed
for it, and for the beginning of a prompt, serves every request of its image set.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

from migbench.messages import Answer, Request
from model_adapters.checks import require_positive
from model_adapters.resizing import resizing_of
from model_adapters.vllm import prompts
from model_adapters.vllm.arguments import engine_arguments
from model_adapters.vllm.images import ImageDecoder
from model_adapters.vllm.loading import start
from model_adapters.vllm.settings import SERVING_ARGUMENTS, VllmSettings

__all__ = ["VllmAdapter"]

_MOST_AT_ONCE = 256
"""Requests that the engine works on at once, unless ``max_num_seqs`` says otherwise."""

_QUEUED = 32
"""Requests that wait in the engine's queue, so that it never runs dry."""


class VllmAdapter:
    """Answers requests with vLLM's engine; the keywords of the constructor are `VllmSettings`.

    Decoding is greedy unless a request asks for sampling; the decoding settings that a checkpoint
    brings along (temperature, penalties) are not used. Raises `AdapterError` when vLLM is missing,
    a setting is wrong, or the engine does not start.
    """

    SERVING = frozenset(
        {"max_images", "max_model_len", "preparing_threads", "image_cache_mb"}
        | {f"engine_args.{name}" for name in SERVING_ARGUMENTS}
    )
    """The settings that do not change what the model says; a request beyond ``max_images`` or
    ``max_model_len`` gets no answer."""

    Settings = VllmSettings

    def __init__(self, checkpoint: str, **settings: Any) -> None:
        chosen = VllmSettings(checkpoint=checkpoint, **settings)
        arguments = engine_arguments(chosen)
        most_at_once = arguments.setdefault("max_num_seqs", _MOST_AT_ONCE)
        require_positive(max_num_seqs=most_at_once)
        self._max_images = chosen.max_images
        self._most_at_once: int = most_at_once
        self._template_settings = {"add_vision_id": True} if chosen.add_vision_id else {}
        self._engine = start(arguments, lora=chosen.lora)
        self.resizing = resizing_of(
            self._engine.image_processor(), arguments.get("mm_processor_kwargs")
        )
        self._images = ImageDecoder(
            threads=chosen.preparing_threads, cache_bytes=int(chosen.image_cache_mb * 2**20)
        )
        # First come, first served: requests reach the engine in the order of image sets. And a
        # bound on the decoded images that are in memory at once.
        self._preparing = asyncio.Semaphore(2 * chosen.preparing_threads)

    @property
    def max_concurrency(self) -> int:
        """What the engine works on at once, and some more that wait for it."""
        return self._most_at_once + _QUEUED

    @property
    def needs_images(self) -> bool:
        """A model looks at its images."""
        return True

    async def answer(self, request: Request) -> Answer:
        """Answer one request. Raises `ModelError`."""
        prompts.check(request, max_images=self._max_images)
        self._engine.check(request)
        async with self._preparing:
            images = await self._images.decode(request.images)
            prompt = await self._engine.prepare(
                prompts.chat(request, images), self._template_settings
            )
        started = time.perf_counter()
        answer = await self._engine.generate(
            prompt, prompts.sampling(request.generation), request.generation.max_new_tokens
        )
        return dataclasses.replace(answer, seconds=time.perf_counter() - started)

    async def close(self) -> None:
        """End the engine and let go of images and threads.

        Requests that are still under way get a `ModelError`.
        """
        self._images.close()
        await self._engine.close()
