"""Runs a model class of lmms-eval: its chat models, and its simple ones.

They answer a list of requests with a list of texts, so requests that wait are handed over together.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from migbench.messages import (
    AdapterError,
    Answer,
    DaemonThreads,
    Request,
)
from model_adapters.batching import Batches, Waiting
from model_adapters.lmms_eval.loading import load
from model_adapters.lmms_eval.model import ImagesAs, ListModel
from model_adapters.lmms_eval.order import InOrder

__all__ = ["LmmsEvalAdapter"]

_CLOSING_SECONDS = 60.0
"""For the list under way to be answered."""

_log = logging.getLogger(__name__)


class LmmsEvalAdapter:
    """Answers requests with the lmms-eval model called ``checkpoint``, such as ``qwen2_5_vl``.

    - ``model_args``: the class's own settings, in lmms-eval's ``key=value,key=value``. Every other
      setting that is not below (``pretrained``, ``device``, …) is passed on to the class too.
    - ``batch_size``: the class's own; ``at_once``: how many requests it is handed together, its
      batch size by default. Classes for servers want as many as they ask in parallel.
    - ``images``: ``path``, or ``decoded`` for classes that take no paths (``llava_hf``,
      ``internvl_hf``).
    - ``simple``: take the simple class where a model has a chat class too. Simple models are shown
      the images first and the whole text after them.

    Raises `AdapterError` where lmms-eval is missing, has no such model, or the model does not load.
    """

    SERVING = frozenset({"at_once", "batch_size"})
    """The settings that do not change what the model says."""

    def __init__(
        self,
        checkpoint: str,
        *,
        model_args: str = "",
        batch_size: int = 1,
        at_once: int | None = None,
        images: str = "path",
        simple: bool = False,
        revision: str | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        **settings: Any,
    ) -> None:
        at_once = at_once if at_once is not None else batch_size
        for name, value in (("batch_size", batch_size), ("at_once", at_once)):
            if not isinstance(value, int) or value < 1:
                raise AdapterError(f"{name} must be a whole number of at least 1, not {value!r}")
        if images not in list(ImagesAs):
            raise AdapterError(f"images={images}: choose path or decoded")
        named = {"revision": revision, "min_pixels": min_pixels, "max_pixels": max_pixels}
        given = {name: value for name, value in named.items() if value is not None}
        loaded = load(
            checkpoint, str(model_args), {**settings, **given}, batch_size, simple=bool(simple)
        )
        model = ListModel(loaded, ImagesAs(images), counts_tokens=batch_size == 1)
        self._model = InOrder(model, checkpoint)
        self._close = model.close
        self._thread = DaemonThreads(1, "lmms-eval")
        self._batches = Batches(self._answer_batch, lambda: at_once)

    @property
    def max_concurrency(self) -> int:
        """What the model works on, and as much that waits for it."""
        return self._batches.max_concurrency

    @property
    def needs_images(self) -> bool:
        """A model looks at its images."""
        return True

    async def answer(self, request: Request) -> Answer:
        """Answer one request, together with others that wait. Raises `ModelError`."""
        return await self._batches.answer(request)

    async def close(self) -> None:
        """Let the batch under way end, and let go of the model. Who still waits gets an error."""
        await self._batches.close(_CLOSING_SECONDS)
        if self._thread.close():
            self._close()
        else:
            _log.warning("the model does not come to an end, and is left behind")

    async def _answer_batch(self, batch: list[Waiting]) -> None:
        requests = [waiting.request for waiting in batch]
        outcomes = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._model.answer, requests
        )
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.settle(outcome)
