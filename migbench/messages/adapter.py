"""What a model adapter is, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from migbench.messages.requests import Request


class Resizing(NamedTuple):
    """How an image processor resizes, by the rule of Qwen2-VL's (`smart_resize`), in pixels.

    Sides become multiples of ``factor``, and the area lies between the two bounds.
    """

    factor: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, unprocessed. ``truncated`` means that it ran into the token limit.

    ``refused`` means that a content filter took the question or the answer away: ``text`` is then
    what came in its place, and is not parsed. A model that refuses in its own words has answered.

    ``seconds`` is the time that the request took at the model, ``*_tokens`` what it counted:
    ``cached_tokens`` are those of the prompt that a prefix cache served instead of computing them.
    """

    text: str
    truncated: bool = False
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """What an adapter finds out before a model is started.

    ``problems`` are sentences that each say what stands in the way, and the way out.
    ``checkpoints`` are the folders and hub ids of what is served, ``model_types`` its types (as in
    a ``config.json``), as far as that is said anywhere.
    """

    problems: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    model_types: tuple[str, ...] = ()


class Adapter(Protocol):
    """A running model.

    The runner keeps up to ``max_concurrency`` calls of `answer` under way, in the order of image
    sets. `answer` raises `ModelError` when this one request failed for good; anything else that it
    raises is recorded the same way, and only Ctrl-C ends a run. An answer is checked before it is
    stored: its text must be a `str`, ``truncated`` and ``refused`` a `bool`; measurements that are
    none are left out. Threads are best `DaemonThreads`, which end with the program. Constructors
    raise `AdapterError` when the model cannot be started. A class may name, in a set ``SERVING``,
    those of its settings that do not change what the model says (batch size, address, retries):
    they may differ when a run is resumed. ``outer.inner`` is one inside a setting that is a
    mapping.

    Three things may be there beside: a function ``check`` of the class, which takes the settings
    and raises `AdapterError` for wrong ones before anything is written; a coroutine function
    ``preflight`` of the class, which takes the settings, looks within seconds whether a model could
    be asked now, and returns a `Readiness`; and a coroutine ``about()``, which tells what the
    servers behind the model say of themselves (`migbench.runs.served`). Where `answer` raises
    `ServerDown`, the run waits and asks the same again. An adapter whose class has ``needs_images =
    False`` is asked where there are no images. Whoever reads a key calls `keep_secret`, so that no
    text repeats it.

    An adapter that can ask its model's image processor says in ``resizing`` how that resizes (a
    `Resizing`, or None): boxes in pixels are read by it.
    """

    @property
    def max_concurrency(self) -> int:
        """How many requests are worth having under way at once."""

    @property
    def needs_images(self) -> bool:
        """Whether images are looked at; where not, their files need not exist."""

    async def answer(self, request: Request) -> Answer:
        """Answer one request."""

    async def close(self) -> None:
        """Release what the model holds; called once, at the end of a run."""
