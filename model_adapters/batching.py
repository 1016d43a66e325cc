"""Collects requests that wait into batches, for models that answer several at once.

No request is waited for: a batch is what has come while the model worked on the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from migbench.messages import Answer, ModelError, Request, describe

__all__ = ["Batches", "Waiting", "failure"]


@dataclass(eq=False, slots=True)
class Waiting:
    """A request under way, its answer to come, and its prompt once preparing it has begun."""

    request: Request
    answer: asyncio.Future[Answer]
    prompt: asyncio.Future[Any] | None = None

    def settle(self, outcome: Answer | BaseException) -> None:
        """Give the answer or the error to the caller, unless that has given up waiting."""
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Batches:
    """Answers requests in batches, one batch at a time. Used from one event loop.

    ``answer_batch`` settles every request of a batch, or raises, which settles those that are left.
    ``size`` says how many requests a batch holds at most. ``prepare`` begins to prepare a request's
    prompt; that is done for two batches' worth of the oldest requests, to bound the memory.
    """

    def __init__(
        self,
        answer_batch: Callable[[list[Waiting]], Awaitable[None]],
        size: Callable[[], int],
        prepare: Callable[[Request], asyncio.Future[Any]] | None = None,
    ) -> None:
        self._answer_batch = answer_batch
        self._size = size
        self._prepare = prepare
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def max_concurrency(self) -> int:
        """A batch that the model works on, and one that waits for it."""
        return 2 * self._size()

    async def answer(self, request: Request) -> Answer:
        """Answer one request, together with others that wait. Raises `ModelError`."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        self._prepare_oldest()
        # It begins after every request that the caller issues in one go: these fill a batch.
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._answer_all())
        return await waiting.answer

    async def close(self, seconds: float) -> None:
        """Refuse the requests that wait, and let the batch under way end, for so many seconds."""
        for waiting in self._waiting:
            waiting.settle(ModelError("the model was stopped"))
        self._waiting = []
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=seconds)

    async def _answer_all(self) -> None:
        """Answer what waits until nothing does. One such task exists at a time, and only then."""
        while batch := self._take():
            try:
                await self._answer_batch(batch)
            # Whatever goes wrong, no caller waits for ever, and the next batch has its turn.
            except BaseException as error:
                for waiting in batch:
                    waiting.settle(failure(error))
                if isinstance(error, asyncio.CancelledError | GeneratorExit):
                    raise

    def _take(self) -> list[Waiting]:
        """The requests of the oldest image sets with the generation settings of the very oldest."""
        oldest = self._prepare_oldest()
        alike = [one for one in oldest if one.request.generation == oldest[0].request.generation]
        batch = _by_image_set(alike)[: self._size()]
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        self._prepare_oldest()  # of the next batch, while the model works on this one
        return batch

    def _prepare_oldest(self) -> list[Waiting]:
        """The oldest requests, their prompts under way; dropped are those whose callers gave up."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.answer.done()]
        oldest = self._waiting[: self.max_concurrency]
        for waiting in oldest:
            if self._prepare is not None and waiting.prompt is None:
                waiting.prompt = self._prepare(waiting.request)
        return oldest


def failure(error: BaseException) -> ModelError:
    """An error as it is reported; each caller gets one of its own."""
    found = ModelError(describe(error))
    found.__cause__ = error
    return found


def _by_image_set(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Those about one image set together, the sets in the order of their oldest requests."""
    sets = list(dict.fromkeys(one.request.image_set for one in waiting))
    return sorted(waiting, key=lambda one: sets.index(one.request.image_set))
