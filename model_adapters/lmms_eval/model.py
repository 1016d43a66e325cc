"""From requests to answers with a model class of lmms-eval, one list at a time."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from migbench.messages import (
    Answer,
    Generation,
    ImageFile,
    ModelError,
    Request,
    names_filter,
)
from model_adapters.lmms_eval.loading import untyped

__all__ = ["FAILURE", "ImagesAs", "ListModel"]

FAILURE = "[LMMS_EVAL_"
"""What lmms-eval's models for servers begin a text with that stands in for a missing answer."""

TASK, SPLIT = "migbench", "test"

Outcome = Answer | ModelError


class ImagesAs(StrEnum):
    """How chat models are given their images; simple models always get them decoded.

    So do chat models where a class that opens the file itself would show it otherwise.
    """

    PATH = "path"
    DECODED = "decoded"


class ListModel:
    """A started class. ``counts_tokens``: its count of an answer's tokens includes no padding."""

    def __init__(self, loaded: Any, images: ImagesAs, *, counts_tokens: bool = True) -> None:
        self._loaded = loaded
        self._images = images
        self._counts_tokens = counts_tokens
        self._simple = bool(loaded.is_simple)
        self._source = _source(type(loaded))

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request, in the order of the class; they share their generation settings.

        Raises whatever the class raises, and `ModelError` where it cannot be asked this.
        """
        generation = requests[0].generation
        self._refuse_what_is_ignored(generation)
        for request in requests:
            self._refuse_what_cannot_be_shown(request)
        looked_at: set[int] = set()

        def shown(number: int) -> Any:
            looked_at.add(number)
            request = requests[number]
            return self._images_of(request) if self._simple else self._chat(request)

        self._loaded.task_dict = {TASK: {SPLIT: list(range(len(requests)))}}
        instances = [
            self._instance(number, request, generation, shown)
            for number, request in enumerate(requests)
        ]
        if generation.temperature > 0:
            untyped("torch").manual_seed(generation.seed)
        given = self._loaded.generate_until(instances)
        if not isinstance(given, list | tuple) or len(given) != len(requests):
            count = len(given) if isinstance(given, list | tuple) else type(given).__name__
            raise ModelError(f"the model gave {count} answers to {len(requests)} requests")
        return [
            self._outcome(output, generation)
            if number in looked_at
            else ModelError("the model answered without a look at the question's images")
            for number, output in enumerate(given)
        ]

    def close(self) -> None:
        """Free what the model holds."""
        self._loaded.clean()

    def _refuse_what_is_ignored(self, generation: Generation) -> None:
        if ignored := _ignored(generation, self._source):
            raise ModelError(
                f"lmms-eval's {type(self._loaded).__name__} does not know {', '.join(ignored)}, "
                "and would ignore it: leave the setting at its default, or use another adapter"
            )

    def _refuse_what_cannot_be_shown(self, request: Request) -> None:
        for image in request.images:
            image.size()  # Raises for a file that is missing or broken, before a class sees it.
        if not self._simple:
            return
        if any(isinstance(part, str) for part in request.parts[:-1]):
            raise ModelError(
                "a simple model of lmms-eval is shown the images first and the text after them, "
                "but this dialect has text between them: use a chat model"
            )
        if request.system is not None:
            raise ModelError("a simple model of lmms-eval takes no system message")

    def _instance(
        self,
        number: int,
        request: Request,
        generation: Generation,
        shown: Callable[[int], Any],
    ) -> Any:
        """A request as lmms-eval wraps it; the class looks its document up, and shows it."""
        text, settings = request.text(), _generation_kwargs(generation, self._source)
        how = (settings, shown) if self._simple else (shown, settings)
        return untyped("lmms_eval.api.instance").Instance(
            request_type="generate_until",
            arguments=(text, *how, number, TASK, SPLIT),
            idx=0,
            metadata={"task": TASK, "doc_id": number, "repeats": 1},
        )

    def _chat(self, request: Request) -> list[dict[str, Any]]:
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "url": self._image(part)}
            for part in request.parts
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system is not None:
            system = [{"type": "text", "text": request.system}]
            messages.insert(0, {"role": "system", "content": system})
        return messages

    def _image(self, image: ImageFile) -> Any:
        by_path = self._images is ImagesAs.PATH and image.difference() is None
        return str(image.path) if by_path else image.open()

    def _images_of(self, request: Request) -> list[Any]:
        return [image.open() for image in request.images]

    def _outcome(self, output: Any, generation: Generation) -> Outcome:
        api = untyped("lmms_eval.api.instance")
        text, counts = api.unwrap_generation_output(output)
        # What is none of these was made a text by force.
        if not isinstance(output, str | tuple | api.GenerationResult) or not isinstance(text, str):
            return ModelError(f"the model gave {type(output).__name__} instead of a text")
        tokens = counts.output_tokens if counts is not None else None
        if text.lstrip().startswith(FAILURE):
            if names_filter(text):
                return Answer(text[:500], refused=True)
            return ModelError(text[:500])
        if not text and not tokens:
            return ModelError(
                "the model gave no text; lmms-eval's classes do so when a request has failed"
            )
        limit = generation.max_new_tokens
        return Answer(
            text,
            truncated=self._counts_tokens and tokens is not None and tokens >= limit,
            prompt_tokens=counts.input_tokens if counts is not None else None,
            completion_tokens=tokens if self._counts_tokens else None,
        )


def _generation_kwargs(generation: Generation, source: str) -> dict[str, Any]:
    """The settings under lmms-eval's names; a class may change its copy.

    Some classes hand on whatever they get, so a seed is for those that name it.
    """
    settings: dict[str, Any] = {
        "max_new_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
        "do_sample": generation.temperature > 0,
        "until": [],
    }
    if generation.temperature > 0 and '"seed"' in source:
        settings["seed"] = generation.seed
    return settings | _beyond_greedy(generation)


def _beyond_greedy(generation: Generation) -> dict[str, Any]:
    default = Generation()
    return {
        name: getattr(generation, name)
        for name in ("top_p", "num_beams")
        if getattr(generation, name) != getattr(default, name)
    }


def _ignored(generation: Generation, source: str) -> list[str]:
    """The settings in force that a class never mentions, so cannot honour."""
    named = ["max_new_tokens", *_beyond_greedy(generation)]
    if generation.temperature > 0:
        named.append("temperature")
    return [name for name in named if source and name not in source]


def _source(kind: type) -> str:
    """The text of the modules of lmms-eval's that make up a class; empty where it is not known."""
    modules = {sys.modules[parent.__module__] for parent in kind.__mro__[:-1]}
    try:
        return "\n".join(inspect.getsource(module) for module in modules)
    except (OSError, TypeError):
        return ""
