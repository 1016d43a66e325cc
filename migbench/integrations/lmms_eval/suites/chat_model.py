"""A model of migbench as a chat model of lmms-eval: its tasks ask, our adapters answer.

lmms-eval takes a text for every request, and would score whatever stands there. So a list in which
one request has failed is no list of texts: `ModelError` is raised when all others are answered and
kept, and the same command asks only the failed ones again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from migbench.dialects import find_dialect
from migbench.integrations.lmms_eval.suites.answer_log import AnswerLog
from migbench.integrations.lmms_eval.suites.requests import to_request
from migbench.messages import Generation, ModelError, Request, Resizing
from migbench.models.adapters import find_adapter, settings_of, start_adapter
from migbench.models.boundary import Failure, answer_from, closed, max_concurrency_of
from migbench.models.event_loop import EventLoop
from migbench.models.resolving import Model, Overrides, resizing_of_adapter, resolve_model
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.runner import GIVE_UP_AFTER, request_key
from migbench.util.plain_text import describe

__all__ = ["MigbenchChat", "model_class", "model_manifest"]

NAME = "migbench"
"""What lmms-eval calls it: ``--model migbench --model_args model=migician``."""

_log = logging.getLogger(__name__)

Watch = Callable[[int, int], None]
"""Called with how many of how many requests are over."""


class MigbenchChat:
    """What `model_class` adds to lmms-eval's base class.

    ``model`` is a model, or the name of one (a profile, a checkpoint, or with ``adapter`` any
    name); further keywords are the adapter's settings. Tasks decide how long answers may be and
    whether they are sampled; what ``generation`` names (``max_new_tokens``, ``temperature``)
    overrides them.
    """

    is_simple = False
    task_dict: dict[str, Any]

    def __init__(
        self,
        model: Model | str,
        *,
        adapter: str | None = None,
        dialect: str | None = None,
        revision: str | None = None,
        answers: AnswerLog | None = None,
        generation: Mapping[str, Any] | None = None,
        batch_size: int | str | None = None,
        device: str | None = None,
        max_batch_size: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if isinstance(model, str):
            overrides = Overrides(
                adapter=adapter,
                dialect=find_dialect(dialect) if dialect else None,
                revision=revision,
                settings=settings,
            )
            model = resolve_model(model, overrides)
            # lmms-eval's command line gives these whether they are meant or not.
            takes = settings_of(find_adapter(model.adapter))
            given = {"batch_size": batch_size, "device": device}
            serving = {key: each for key, each in given.items() if each and key in takes}
            model = msgspec.structs.replace(model, settings=serving | model.settings)
        self._model = model
        self._answers = answers or AnswerLog()
        self._generation = generation or {}
        self.watching: Watch = lambda done, total: None
        self._loop = EventLoop()
        self._adapter = start_adapter(model)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """One text a request. Raises `ModelError` where one has none."""
        return [said[-1] for said in self._loop.run(self._answer(requests, rounds=False))]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[list[str]]:
        """The texts of every round of each request. Raises `ModelError` where one has none."""
        return self._loop.run(self._answer(requests, rounds=True))

    def loglikelihood(self, requests: Sequence[Any]) -> Any:
        """Adapters give texts alone."""
        raise ModelError("this task compares likelihoods, which migbench's adapters do not give")

    def clean(self) -> None:
        """Let go of nothing yet: lmms-eval calls this after every list, and there may be more."""

    def close(self) -> None:
        """Release what the model holds."""
        if (failure := self._loop.run(closed(self._adapter))) is not None:
            _log.warning("closing the adapter: %s", failure.message)
        self._loop.close()

    async def _answer(self, requests: Sequence[Any], *, rounds: bool) -> list[list[str]]:
        """Ask in order, as many at once as the adapter takes."""
        work = _Work(self, requests, rounds)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(max(1, max_concurrency_of(self._adapter)), len(requests))):
                    group.create_task(work.go_on())
        except BaseExceptionGroup as several:
            # What ends the work (a full disk, say) hits every worker; one report is enough.
            raise several.exceptions[0] from None
        return work.result()

    async def ask(self, name: str, turn: int, request: Request) -> str:
        """The answer to a request, known or new; kept either way. Raises `ModelError`."""
        key = request_key(self._model, request)
        if (known := self._answers.by_key.get(key)) is not None and known.text is not None:
            return known.text
        line = AnswerLine(question=name, turn=turn, key=key, prompt=request.text("<image>"))
        try:
            checked = await answer_from(self._adapter, request)
        except Failure as failure:
            self._answers.failed(line, failure)
            raise ModelError(failure.message) from failure
        self._answers.answered(line, checked)
        return checked.answer.text

    @property
    def resizing(self) -> Resizing | None:
        """How the model's image processor resizes, where the adapter can ask it."""
        return resizing_of_adapter(self._adapter)

    @property
    def image_mark(self) -> str:
        """What the model's family writes where an image stands."""
        return self._model.dialect.image_token

    def settings_of(self, task: Mapping[str, Any]) -> Generation:
        """How a task wants answers generated, under what the user wants.

        Stop texts are not honoured, as they are not by lmms-eval's own chat classes.
        """
        temperature = float(task.get("temperature") or 0.0)
        if task.get("do_sample") is False:
            temperature = 0.0
        temperature = self._generation.get("temperature", temperature)
        default = self._model.generation
        sampled = temperature > 0
        return Generation(
            max_new_tokens=self._generation.get(
                "max_new_tokens", task.get("max_new_tokens", default.max_new_tokens)
            ),
            temperature=temperature,
            top_p=float(task.get("top_p") or 1.0) if sampled else 1.0,
            num_beams=int(task.get("num_beams") or 1),
            seed=default.seed,
        )


class _Work:
    """A list of requests under way, and what came of each."""

    def __init__(self, model: MigbenchChat, requests: Sequence[Any], rounds: bool) -> None:
        self._model = model
        self._waiting = iter(enumerate(requests))
        self._rounds = rounds
        self._said: list[list[str] | None] = [None] * len(requests)
        self._turn = asyncio.Lock()
        self._over = 0
        self._failed = 0
        self._last_error = ""

    async def go_on(self) -> None:
        """Take requests one by one; where nothing at all is answered, give up."""
        for place, instance in self._waiting:
            if self._failed == self._over >= GIVE_UP_AFTER:
                return
            try:
                self._said[place] = await self._converse(instance)
            except ModelError as error:
                self._failed += 1
                self._last_error = str(error)
            self._over += 1
            self._model.watching(self._over, len(self._said))

    def result(self) -> list[list[str]]:
        """All that was said. Raises `ModelError` where a request has no answer."""
        said = [each for each in self._said if each is not None]
        if missing := len(self._said) - len(said):
            raise ModelError(
                f"{missing} of {len(self._said)} questions have no answer "
                f"(last reason: {self._last_error})"
            )
        return said

    async def _converse(self, instance: Any) -> list[str]:
        """Ask a request's one round, or all of its rounds."""
        _, to_messages, settings, document, task, split = instance.args
        generation = self._model.settings_of(settings)
        name = f"{task}/{document}"
        said: list[str] = []
        information: Any = None
        with TemporaryDirectory(prefix="migbench-") as folder:

            def prepare() -> tuple[Request | None, Any]:
                record = self._model.task_dict[task][split][document]
                messages, known = _messages(to_messages, record, said, information)
                if messages is None:
                    return None, known
                return to_request(messages, generation, Path(folder), self._model.image_mark), known

            while True:
                try:
                    # First come, first served: image sets that follow one another stay together.
                    async with self._turn:
                        request, information = await asyncio.to_thread(prepare)
                # A document that does not fit its task must not sink the others.
                except Exception as error:
                    raise ModelError(f"{name}: {describe(error)}") from error
                if request is None:
                    return said
                said.append(await self._model.ask(name, len(said), request))
                if not self._rounds:
                    return said


def _messages(
    to_messages: Callable[..., Any], record: Any, said: list[str], information: Any
) -> tuple[Any, Any]:
    """The chat of the round that follows these answers, None after the last; and what it keeps."""
    if not said:
        return to_messages(record), information
    messages, over, _, kept = to_messages(
        record,
        round_idx=len(said),
        previous_output=list(said),
        previous_round_info=information,
    )
    return None if over else messages, kept


@cache
def model_class() -> Any:
    """The class that lmms-eval wants: its own base under `MigbenchChat`. Imports lmms-eval."""
    return type("MigbenchModel", (MigbenchChat, import_module("lmms_eval.api.model").lmms), {})


def model_manifest() -> Any:
    """How lmms-eval finds it (entry point ``lmms_eval.models``)."""
    registry = import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest(NAME, chat_class_path=f"{__name__}.MigbenchModel")


def __getattr__(name: str) -> Any:
    """The class by the name under which the registry looks it up."""
    if name == "MigbenchModel":
        return model_class()
    raise AttributeError(name)
