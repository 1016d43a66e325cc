"""Decodes and resizes every image once, however many prompts show it.

`SharedImages` stands where a processor expects its image processor. Prompts show it stand-ins:
blank images of the right size that carry their file, which is decoded only where that has not been
done yet.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from migbench.messages import ImageFile

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageCache", "SharedImages", "stand_in"]

T = TypeVar("T")

FILE, PIECE = "migbench file", "migbench piece"
"""Keys of a stand-in's ``info``: what it stands for, and what was made of that."""

_log = logging.getLogger(__name__)


def stand_in(file: ImageFile) -> Image:
    """A blank image of the file's size. Raises `ModelError` when its header cannot be read."""
    from PIL import Image

    image = Image.new("RGB", file.size())
    image.info[FILE] = file
    return image


class SharedImages:
    """An image processor that remembers what it made of each file, up to ``most_bytes``.

    Some families process an image in view of the others (tiles for a lone one only, padding to the
    largest). So the first prompt with several images is processed as a whole as well, and only if
    that gives the very same are images processed one by one and remembered.
    """

    def __init__(self, image_processor: Any, *, most_bytes: int) -> None:
        self._process = image_processor
        self._cache: ImageCache[Any] = ImageCache(most_bytes, _size)
        self._separable: bool | None = None

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of an image processor."""
        return getattr(self.__dict__["_process"], name)

    def __call__(self, images: Any, *args: Any, **settings: Any) -> Any:
        """Process stand-ins as the image processor would what they stand for."""
        shown = list(_flat(images))
        if self._separable is not False:
            pieces = [self._piece(image.info[FILE], args, settings) for image in shown]
            joined = _joined(pieces)
            if self._separable is None and len(shown) > 1:
                whole = self._process(_opened(images), *args, **settings)
                self._separable = joined is not None and _same(joined, whole)
                if not self._separable:
                    _log.info("this family's images are processed anew for every prompt")
                    return whole
            if joined is not None:
                for image, piece in zip(shown, pieces, strict=True):
                    image.info[PIECE] = piece
                return joined
        return self._process(_opened(images), *args, **settings)

    def pieces(self, shown: Sequence[Image]) -> list[dict[str, Any]] | None:
        """What was made of each stand-in of a processed prompt; None where that is not separate."""
        pieces = [dict(image.info[PIECE]) for image in shown if PIECE in image.info]
        return pieces if len(pieces) == len(shown) else None

    def _piece(self, file: ImageFile, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        return self._cache.get(
            file.digest(), lambda: self._process([file.open()], *args, **settings)
        )


class ImageCache(Generic[T]):
    """What was made for each key: the latest used, up to ``most_bytes`` as ``size`` counts them.

    For any number of threads: what one of them is making, others wait for. What fails is not kept.
    """

    def __init__(self, most_bytes: int, size: Callable[[T], int]) -> None:
        self._most_bytes = most_bytes
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, now or earlier; raises what it raises."""
        with self._lock:
            known = self._entries.get(key)
            if known is not None:
                self._entries.move_to_end(key)
            else:
                entry = self._entries[key] = Future()
        if known is not None:
            return known.result()
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._entries[key]
            entry.set_exception(error)
            raise
        with self._lock:
            entry.set_result(made)
            self._bytes += self._size(made)
            self._forget_oldest()
        return made

    def _forget_oldest(self) -> None:
        finished = [key for key, entry in self._entries.items() if entry.done()]
        for key in finished:
            if self._bytes <= self._most_bytes:
                return
            self._bytes -= self._size(self._entries.pop(key).result())


def _flat(images: Any) -> Iterator[Image]:
    """The images of what a processor passes on: one, or lists of them, nested as it likes."""
    if isinstance(images, (list, tuple)):
        for several in images:
            yield from _flat(several)
    else:
        yield images


def _opened(images: Any) -> Any:
    """The same nesting, with what the stand-ins stand for."""
    if isinstance(images, (list, tuple)):
        return [_opened(several) for several in images]
    return images.info[FILE].open()


def _joined(pieces: Sequence[Any]) -> Any:
    """One output for all images, or None where those of single images do not join."""
    import torch

    if not all(isinstance(part, torch.Tensor) for piece in pieces for part in piece.values()):
        return None
    try:
        return type(pieces[0])(
            {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        )
    except (RuntimeError, KeyError):  # of different shapes or kinds
        return None


def _same(joined: Any, whole: Any) -> bool:
    import torch

    return set(joined) == set(whole) and all(
        isinstance(whole[name], torch.Tensor) and torch.equal(joined[name], whole[name])
        for name in joined
    )


def _size(piece: Any) -> int:
    return sum(part.nbytes for part in piece.values() if hasattr(part, "nbytes"))
