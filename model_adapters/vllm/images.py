"""Images decoded in worker threads, each once for all requests that show it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migbench.messages import DaemonThreads, ImageFile, ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DecodedImage", "ImageDecoder"]

_BYTES_A_PIXEL = 3


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image in RGB, and the name under which an engine may keep what it computes from it.

    ``media_id`` is the SHA-256 of the file: equal files are one image, wherever they lie.
    """

    pixels: Image
    media_id: str

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return self.pixels.width * self.pixels.height * _BYTES_A_PIXEL


class ImageDecoder:
    """Decodes with ``threads`` threads, and keeps the recent images.

    ``cache_bytes`` bounds what is kept besides the images of requests under way. Requests come by
    image set, so little is enough. Used from one event loop.
    """

    def __init__(self, *, threads: int, cache_bytes: int) -> None:
        self._threads = DaemonThreads(threads, "decode")
        self._is_closed = False
        self._limit = cache_bytes
        self._recent: OrderedDict[ImageFile, Future[DecodedImage]] = OrderedDict()

    async def decode(self, images: Sequence[ImageFile]) -> list[DecodedImage]:
        """The images of one request, in order.

        Raises `ModelError` when one cannot be decoded, or once the decoder is closed.
        """
        if self._is_closed:
            raise ModelError("the model was stopped")
        # Shielded: another request may wait for the same image when this one is given up.
        decoding = [asyncio.shield(asyncio.wrap_future(self._future(image))) for image in images]
        outcomes = await asyncio.gather(*decoding, return_exceptions=True)
        self._drop_oldest()
        decoded = []
        for outcome in outcomes:
            if isinstance(outcome, asyncio.CancelledError):
                raise ModelError("the model was stopped")
            if isinstance(outcome, BaseException):
                raise outcome
            decoded.append(outcome)
        return decoded

    def close(self) -> None:
        """Let go of the images, and of the threads once each is done with its image."""
        self._is_closed = True
        self._threads.shutdown(cancel_futures=True)
        self._recent.clear()

    def _future(self, image: ImageFile) -> Future[DecodedImage]:
        """The image's decoding: done, under way, or begun now."""
        if image not in self._recent:
            self._recent[image] = self._threads.submit(_decoded, image)
        self._recent.move_to_end(image)
        return self._recent[image]

    def _drop_oldest(self) -> None:
        """Forget failures, and the images used longest ago beyond the limit."""
        held = 0
        for image, future in reversed(list(self._recent.items())):
            if not future.done():
                continue
            failed = future.cancelled() or future.exception() is not None
            held += 0 if failed else future.result().size
            if failed or held > self._limit:
                del self._recent[image]


def _decoded(image: ImageFile) -> DecodedImage:
    # They have no metadata left, by which vLLM would turn them.
    return DecodedImage(image.open(), image.digest())
