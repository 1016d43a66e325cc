"""An image of an image set, on disk: its bytes, its pixels and its size.

Whatever is wrong with a file is a `ModelError` that names the image.
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
from typing import TYPE_CHECKING, NamedTuple

from migbench.errors import ModelError
from migbench.messages import image_decoding

if TYPE_CHECKING:
    from PIL.Image import Image


class Size(NamedTuple):
    """Width and height of an image in pixels, as stored (EXIF rotation is not applied)."""

    width: int
    height: int


class EncodedImage(NamedTuple):
    """An image file's content and its media type, such as ``image/png``."""

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of an image set, on disk.

    ``name`` is the normalised path inside the data folder: a stable media id. ``path`` is where the
    file lies, or None where the run has no images (baselines need none). Only regular files are
    read. Whatever is wrong with one is a `ModelError` that names the image.
    """

    name: str
    path: Path | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a regular file. Raises `OSError` where that cannot be looked up."""
        return self.path is not None and self.path.is_file()

    def read(self) -> bytes:
        """The original file's bytes. Raises `ModelError` when the file cannot be read."""
        with _opened(self) as file, _errors_named(self, "read"):
            return file.read()

    def open(self) -> Image:
        """The pixels that a model is to see, in RGB; `image_decoding` has the rules.

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
