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
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from migbench import image_decoding
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
    "EncodedImage",
    "Finish",
    "Generation",
    "ImageFile",
    "ModelError",
    "Part",
    "Request",
    "Resizing",
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


class EncodedImage(NamedTuple):
    """An image file's content and its media type, such as ``image/png``."""

    media_type: str
    content: bytes


class Resizing(NamedTuple):
    """How an image processor resizes, by the rule of Qwen2-VL's (`smart_resize`), in pixels.

    Sides become multiples of ``factor``, and the area lies between the two bounds.
    """

    factor: int
    min_pixels: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of an image set, on disk.

    ``name`` is the normalised path inside the data folder: a stable media id. ``path`` is where the
    file lies, or None where the run has no images (baselines need none). Only regular files are
    read. Whatever is wrong with one is a `ModelError` that names the image.
    """

    name: str
    path: Path | None = None

    def read(self) -> bytes:
        """The original file's bytes. Raises `ModelError` when the file cannot be read."""
        with _opened(self) as file, _errors_named(self, "read"):
            return file.read()

    def open(self) -> Image:
        """The pixels that a model is to see, in RGB (see `migbench.image_decoding` for the rules).

        Raises `ModelError` when it is missing, broken, too large or of no known format.
        """
        with _opened(self) as file, _errors_named(self, "decoded"):
            return image_decoding.decode(file)

    def encoded(self) -> EncodedImage:
        """Bytes that every decoder shows as `open` does: the file's own, or else those of a PNG.

        Raises `ModelError` when it cannot be read or decoded.
        """
        header = _header_of(self)
        if header.media_type is not None and header.difference is None:
            return EncodedImage(header.media_type, self.read())
        with _errors_named(self, "decoded"):
            return EncodedImage("image/png", image_decoding.encode(self.open()))

    def difference(self) -> str | None:
        """What of the file's own bytes other decoders may show otherwise; None for most files.

        An orientation in the metadata, transparency, a rare format. Raises `ModelError`.
        """
        return _header_of(self).difference

    def size(self) -> Size:
        """Width and height in pixels, read from the header alone. Raises `ModelError`."""
        header = _header_of(self)
        return Size(header.width, header.height)

    def digest(self) -> str:
        """SHA-256 of the file's bytes, or a mark of its absence: part of a request's identity.

        Raises `ModelError` when the file cannot be read.
        """
        with _errors_named(self, "read"):
            if self.path is None or not self.path.is_file():
                return f"absent:{self.name}"
            status = self.path.stat()
            return _digest(self, status.st_size, status.st_mtime_ns)


@contextmanager
def _opened(image: ImageFile) -> Iterator[BufferedReader]:
    """A regular file of bearable size, open for reading. Raises `ModelError`."""
    if image.path is None:
        raise ModelError(f"image {image.name}: the run has no image folder; pass --images DIR")
    with _errors_named(image, "read"):
        file = open(image.path, "rb", opener=_at_once)  # noqa: SIM115, closed below
    with file:
        # What is judged is the file that was opened, whatever stands at its path by now.
        with _errors_named(image, "read"):
            status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"image {image.name}: cannot be read (it is no regular file)")
        if status.st_size > image_decoding.MAX_BYTES:
            raise ModelError(
                f"image {image.name}: cannot be read ({status.st_size} bytes are more than "
                f"{image_decoding.MAX_BYTES})"
            )
        yield file


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting: opening a pipe would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def _errors_named(image: ImageFile, done: str) -> Iterator[None]:
    """Turn whatever is raised on a missing, broken or oversized file into a `ModelError`.

    Pillow's decoders raise nearly every kind of exception on broken files (OSError, SyntaxError,
    ValueError, struct.error, EOFError, zlib.error, OverflowError, MemoryError, warnings).
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ModelError(f"image {image.name}: cannot be {done} ({reason})") from error


def _header_of(image: ImageFile) -> image_decoding.Header:
    """The headers of an image file, read once for as long as the file does not change."""
    size = modified = 0
    if image.path is not None:
        with _errors_named(image, "read"):
            status = image.path.stat()
        size, modified = status.st_size, status.st_mtime_ns
    return _header(image, size, modified)


@lru_cache(maxsize=65536)
def _header(image: ImageFile, size: int, modified_ns: int) -> image_decoding.Header:
    with _opened(image) as file, _errors_named(image, "decoded"):
        return image_decoding.inspect(file)


@lru_cache(maxsize=65536)
def _digest(image: ImageFile, size: int, modified_ns: int) -> str:
    with _opened(image) as file:
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

    An adapter that can ask its model's image processor says in ``resizing`` how that resizes (a
    `Resizing`, or None): boxes in pixels are read by it.
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
