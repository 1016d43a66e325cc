"""Images as chat-completions servers take them: bytes in base64, or the files' paths.

A file that some server would show otherwise than `ImageFile.open` does (turned, without its
transparency, or not at all) is sent as a PNG of what `open` shows; all others as they are.
"""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from migbench.messages import ImageFile, ModelError


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """The two parts of an image's URL; kept apart, so that nothing large is copied to join them.

    Neither holds a character that JSON escapes.
    """

    prefix: str
    rest: bytes


def data_url(image: ImageFile) -> ImageUrl:
    """The image's bytes. Raises `ModelError` when it cannot be read or is no image."""
    media_type, content = image.encoded()
    return ImageUrl(f"data:{media_type};base64,", b2a_base64(content, newline=False))


def file_url(image: ImageFile) -> ImageUrl:
    """The file's path, absolute; or bytes, where a server would show the file otherwise.

    Its headers are looked at, so that a file that is no image is told here and not by the server.
    Raises `ModelError` when it cannot be read or is no image.
    """
    if image.difference() is not None:
        return data_url(image)
    if image.path is None:
        raise ModelError(f"image {image.name}: the run has no image folder; pass --images DIR")
    # URLs are tidied on their way, and A/../B is not B where A is a link.
    path = image.path.resolve() if ".." in image.path.parts else image.path.absolute()
    return ImageUrl("file://", path.as_uri().removeprefix("file://").encode())


class ImageEncoder:
    """Makes images' URLs in a thread, by ``url_of``, and keeps the recent ones.

    ``cache_bytes`` bounds what is kept. Requests come by image set, so what is shown by those under
    way is enough. Used from one event loop.
    """

    def __init__(
        self, url_of: Callable[[ImageFile], ImageUrl] = data_url, *, cache_bytes: int
    ) -> None:
        self._url_of = url_of
        self._recent = _RecentImages(cache_bytes)
        self._turn = asyncio.Lock()

    async def encode(self, images: Sequence[ImageFile]) -> list[ImageUrl]:
        """The URLs of one request's images, in order.

        Requests are served in the order in which they ask. Raises `ModelError` when an image cannot
        be read or decoded.
        """
        # First come, first served: requests leave in the runner's order, by image set, and no
        # image is encoded twice because two requests want it at the same time.
        async with self._turn:
            known = {
                image: encoded
                for image in images
                if (encoded := self._recent.get(image)) is not None
            }
            missing = [image for image in dict.fromkeys(images) if image not in known]
            if missing:
                # The thread only computes: a cancelled wait must not leave it writing to the cache.
                fresh = await asyncio.to_thread(lambda: [self._url_of(image) for image in missing])
                known.update(zip(missing, fresh, strict=True))
                for image in missing:
                    self._recent.put(image, known[image])
            return [known[image] for image in images]


class _RecentImages:
    """URLs of images, the least recently used dropped first once ``limit`` bytes are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._images: OrderedDict[ImageFile, ImageUrl] = OrderedDict()

    def get(self, image: ImageFile) -> ImageUrl | None:
        if image in self._images:
            self._images.move_to_end(image)
        return self._images.get(image)

    def put(self, image: ImageFile, encoded: ImageUrl) -> None:
        self._images[image] = encoded
        self._held += len(encoded.rest)
        while self._held > self._limit:
            _, dropped = self._images.popitem(last=False)
            self._held -= len(dropped.rest)
