"""What passes between migbench and a model: images, requests, answers, and the adapter protocol.

Adapters import this module and nothing else of migbench. A new adapter is a class with one method::

    from migbench.messages import Answer, Request

    class MyModel:
        def __init__(self, temperature: float = 0.0) -> None: ...
        def answer(self, request: Request) -> Answer | str: ...

Its constructor's keywords are its settings (``--model-arg temperature=0.2``, or ``settings:`` in a
profile). `Adapter` below is the full protocol, for adapters that answer many requests at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from migbench.daemon_threads import DaemonThreads
from migbench.errors import AdapterError, ModelError
from migbench.finishing import Finish, finish_of, is_filter_code, names_filter
from migbench.plain_text import describe, encodable, root_cause
from migbench.redaction import keep_secret, redact

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Adapter",
    "AdapterError",
    "Answer",
    "DaemonThreads",
    "Finish",
    "Generation",
    "ImageFile",
    "ModelError",
    "Part",
    "Request",
    "Size",
    "describe",
    "encodable",
    "finish_of",
    "is_filter_code",
    "keep_secret",
    "names_filter",
    "redact",
    "root_cause",
]


class Size(NamedTuple):
    """Width and height of an image in pixels, as stored (EXIF rotation is not applied)."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of an image set, on disk.

    ``name`` is the normalised path inside the data folder: a stable media id. ``path`` is where the
    file lies, or None where the run has no images (baselines need none).
    """

    name: str
    path: Path | None = None

    def read(self) -> bytes:
        """The original file's bytes. Raises `ModelError` when the file cannot be read."""
        try:
            return self._file().read_bytes()
        except OSError as error:
            raise ModelError(f"image {self.name}: cannot be read ({error.strerror})") from error

    def open(self) -> Image:
        """The decoded image in RGB. Raises `ModelError` when it is missing, broken or too large."""
        from PIL import Image

        with _errors_named(self), Image.open(self._file()) as image:
            return image.convert("RGB")

    def size(self) -> Size:
        """Width and height in pixels, read from the header alone. Raises `ModelError`."""
        return _size(self)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, or a mark of its absence: part of a request's identity."""
        if self.path is None or not self.path.is_file():
            return f"absent:{self.name}"
        status = self.path.stat()
        return _digest(self.path, status.st_size, status.st_mtime_ns)

    def _file(self) -> Path:
        if self.path is None:
            raise ModelError(f"image {self.name}: the run has no image folder; pass --images DIR")
        return self.path


@contextmanager
def _errors_named(image: ImageFile) -> Iterator[None]:
    """Turn what Pillow raises on a missing, broken or oversized file into a `ModelError`."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    # Pillow's decoders report a broken file as OSError, SyntaxError or ValueError.
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        raise ModelError(f"image {image.name}: cannot be decoded ({error})") from error


@lru_cache(maxsize=65536)
def _size(image: ImageFile) -> Size:
    from PIL import Image

    with _errors_named(image), Image.open(image._file()) as opened:
        return Size(*opened.size)


@lru_cache(maxsize=65536)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Part = str | ImageFile
"""A request is a sequence of texts and images, in the order in which the model sees them."""


class Generation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to decode. The defaults are greedy; ``temperature`` 0 means no sampling."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    num_beams: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One turn in a model's own dialect, ready to be sent.

    ``image_set`` names the images shown together: requests that share it share a prefix, and the
    runner sends them one after another.
    """

    parts: tuple[Part, ...]
    generation: Generation = Generation()
    image_set: str = ""
    system: str | None = None

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """The images, in the order shown."""
        return tuple(part for part in self.parts if isinstance(part, ImageFile))

    def text(self, image_token: str = "") -> str:
        """The whole text, with ``image_token`` where an image stands."""
        return "".join(part if isinstance(part, str) else image_token for part in self.parts)

    def identity(self) -> Iterator[str]:
        """What makes two requests the same: every part's content and the generation settings."""
        yield f"settings:{self.system!r} {self.generation!r}"
        for part in self.parts:
            yield f"text:{part}" if isinstance(part, str) else f"image:{part.digest()}"


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


class Adapter(Protocol):
    """A running model.

    The runner keeps up to ``capacity`` calls of `answer` under way, in the order of image sets.
    `answer` raises `ModelError` when this one request failed for good; anything else that it raises
    is recorded the same way, and only Ctrl-C ends a run. An answer is checked before it is stored:
    its text must be a `str`, ``truncated`` and ``refused`` a `bool`; measurements that are none are
    left out. Threads are best `DaemonThreads`, which end with the program. Constructors raise
    `AdapterError` when the model cannot be started. A class may name, in a set ``SERVING``, those
    of its settings that do not change what the model says (batch size, address, retries): they may
    differ when a run is resumed. ``outer.inner`` is one inside a setting that is a mapping.

    Two things may be there beside: a function ``check`` of the class, which takes the settings and
    raises `AdapterError` for wrong ones before anything is written; and a coroutine ``about()``,
    which tells what the servers behind the model say of themselves (`migbench.served`). Whoever
    reads a key calls `keep_secret`, so that no text repeats it.
    """

    @property
    def capacity(self) -> int:
        """How many requests are worth having under way at once."""

    @property
    def needs_images(self) -> bool:
        """Whether images are looked at; where not, their files need not exist."""

    async def answer(self, request: Request) -> Answer:
        """Answer one request."""

    async def close(self) -> None:
        """Release what the model holds; called once, at the end of a run."""
