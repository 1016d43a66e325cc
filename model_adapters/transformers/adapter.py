"""Runs a vision-language model in this process, with transformers.

The Qwen2-VL family and whatever else `AutoModelForImageTextToText` loads with a chat template.
Requests are answered in batches, those about one image set together: what they begin with is read
once. While the model works on one batch, worker threads decode and resize the images of the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from migbench.messages import (
    AdapterError,
    Answer,
    DaemonThreads,
    ModelError,
    Request,
)
from model_adapters.batching import Batches, Waiting, failure
from model_adapters.resizing import resizing_of
from model_adapters.transformers.generation import ChatModel
from model_adapters.transformers.loading import load
from model_adapters.transformers.prompts import Prompt
from model_adapters.transformers.settings import TransformersSettings

__all__ = ["TransformersAdapter"]

_CLOSING_SECONDS = 60.0
"""For the batch under way to end: the model looks up at its next token."""

_log = logging.getLogger(__name__)


class TransformersAdapter:
    """Answers requests with a checkpoint; the keywords are `TransformersSettings`.

    Decoding is greedy unless a request asks for sampling or beams; the decoding settings that a
    checkpoint brings along (temperature, penalties) are not used. Raises `AdapterError` when a
    package is missing, a setting is wrong, or the checkpoint does not load.
    """

    SERVING = frozenset({"batch_size", "preparing_threads", "image_cache_gb", "prefix_cache_gb"})
    """The settings that do not change what the model says."""

    Settings = TransformersSettings

    def __init__(self, checkpoint: str, **settings: Any) -> None:
        chosen = TransformersSettings(checkpoint=checkpoint, **settings)
        loaded = load(chosen)
        if chosen.add_vision_id and "add_vision_id" not in str(loaded.processor.chat_template):
            raise AdapterError(f"{checkpoint}: its chat template does not know add_vision_id")
        self.resizing = resizing_of(loaded.processor.image_processor)
        self._chat = ChatModel(loaded, chosen)
        self._preparing = DaemonThreads(chosen.preparing_threads, "prepare")
        self._generating = DaemonThreads(1, "generate")
        self._batches = Batches(self._answer_batch, lambda: self._chat.most, self._prepare)

    @property
    def max_concurrency(self) -> int:
        """A batch that the model works on, and one that is prepared meanwhile."""
        return self._batches.max_concurrency

    @property
    def needs_images(self) -> bool:
        """A model looks at its images."""
        return True

    async def answer(self, request: Request) -> Answer:
        """Answer one request, together with others that wait. Raises `ModelError`."""
        return await self._batches.answer(request)

    async def close(self) -> None:
        """Stop the model within a token's time and let go of it and of the threads.

        Requests that are still under way get a `ModelError`.
        """
        self._chat.stop()
        await self._batches.close(_CLOSING_SECONDS)
        if self._preparing.close() & self._generating.close():
            self._chat.release()
        else:
            _log.warning("the model does not come to an end, and is left behind")

    def _prepare(self, request: Request) -> asyncio.Future[Prompt]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._preparing, self._chat.prepare, request)

    async def _answer_batch(self, batch: Sequence[Waiting]) -> None:
        """Answer what could be prepared, in as many parts as memory asks for."""
        prompts = await asyncio.gather(
            *(waiting.prompt for waiting in batch if waiting.prompt), return_exceptions=True
        )
        ready: list[tuple[Waiting, Prompt]] = []
        for waiting, prompt in zip(batch, prompts, strict=True):
            if isinstance(prompt, BaseException):
                waiting.settle(failure(prompt))
            else:
                ready.append((waiting, prompt))
        generation = batch[0].request.generation
        while ready:
            count = self._chat.fitting([prompt for _, prompt in ready], generation)
            part, ready = ready[:count], ready[count:]
            for (waiting, _), answer in zip(part, await self._generate(part), strict=True):
                waiting.settle(answer)

    async def _generate(
        self, part: Sequence[tuple[Waiting, Prompt]]
    ) -> Sequence[Answer | ModelError]:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._generating,
                self._chat.generate,
                [prompt for _, prompt in part],
                part[0][0].request.generation,
            )
        except Exception as error:  # a GPU that has failed as a whole, for instance
            return [failure(error) for _ in part]
