"""Runs a model class of lmms-eval: its chat models, and its simple ones.

They answer a list of requests with a list of texts, so requests that wait are handed over together.
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
    describe,
)
from model_adapters.lmms_eval.loading import load
from model_adapters.lmms_eval.model import ImagesAs, Model
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
        model = Model(loaded, ImagesAs(images), counts_tokens=batch_size == 1)
        self._at_once = at_once
        self._model = InOrder(model, checkpoint)
        self._close = model.close
        self._thread = DaemonThreads(1, "lmms-eval")
        self._waiting: list[_Waiting] = []
        self._batching: asyncio.Task[None] | None = None

    @property
    def max_concurrency(self) -> int:
        """What the model works on, and as much that waits for it."""
        return 2 * self._at_once

    @property
    def needs_images(self) -> bool:
        """A model looks at its images."""
        return True

    async def answer(self, request: Request) -> Answer:
        """Answer one request, together with others that wait. Raises `ModelError`."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        if self._batching is None or self._batching.done():
            self._batching = loop.create_task(self._answer_in_batches())
        return await waiting.answer

    async def close(self) -> None:
        """Let the batch under way end, and let go of the model. Who still waits gets an error."""
        for waiting in self._waiting:
            waiting.settle(ModelError("the model was stopped before this request"))
        self._waiting = []
        if self._batching is not None and not self._batching.done():
            await asyncio.wait([self._batching], timeout=_CLOSING_SECONDS)
        if self._thread.close():
            self._close()
        else:
            _log.warning("the model does not come to an end, and is left behind")

    async def _answer_in_batches(self) -> None:
        """Answer what waits until nothing does. One such task exists at a time, and only then."""
        loop = asyncio.get_running_loop()
        while batch := self._take_batch():
            requests = [waiting.request for waiting in batch]
            outcomes: Sequence[Answer | BaseException]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._model.answer, requests)
            except Exception as error:  # so that no caller waits for ever
                outcomes = [_failure(error) for _ in batch]
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.settle(outcome)

    def _take_batch(self) -> list[_Waiting]:
        """The oldest requests with the generation settings of the very oldest."""
        waiting = [one for one in self._waiting if not one.answer.done()]
        alike = [one for one in waiting if one.request.generation == waiting[0].request.generation]
        batch = alike[: self._at_once]
        self._waiting = [one for one in waiting if one not in batch]
        return batch


def _failure(error: Exception) -> ModelError:
    failure = ModelError(describe(error))
    failure.__cause__ = error
    return failure


class _Waiting:
    """A request under way, and its answer to come."""

    def __init__(self, request: Request, answer: asyncio.Future[Answer]) -> None:
        self.request = request
        self.answer = answer

    def settle(self, outcome: Answer | BaseException) -> None:
        """Give the answer or the error to the caller, unless that has given up waiting."""
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)
