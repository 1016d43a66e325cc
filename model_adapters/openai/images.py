"""Images as chat-completions servers take them: original bytes in base64, each encoded once."""

from __future__ import annotations

import asyncio
import re
from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from migbench.messages import ImageFile, ModelError

_SIGNATURES = {
    rb"\xff\xd8\xff": "image/jpeg",
    rb"\x89PNG\r\n\x1a\n": "image/png",
    rb"RIFF.{4}WEBP": "image/webp",
    rb"GIF8[79]a": "image/gif",
    rb"BM": "image/bmp",
}


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The two halves of a data URL; kept apart, so that nothing large is copied to join them."""

    mime_type: str
    base64: bytes


class ImageEncoder:
    """Reads and encodes images in a thread, and keeps the recent ones.

    ``cache_bytes`` bounds what is kept. Requests come by image set, so what is shown by those under
    way is enough. Used from one event loop.
    """

    def __init__(self, *, cache_bytes: int) -> None:
        self._recent = _RecentImages(cache_bytes)
        self._turn = asyncio.Lock()

    async def encode(self, images: Sequence[ImageFile]) -> list[EncodedImage]:
        """The images of one request, in order.

        Requests are served in the order in which they ask. Raises `ModelError` when an image cannot
        be read or has a format that no server takes.
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
                fresh = await asyncio.to_thread(lambda: [_encoded(image) for image in missing])
                known.update(zip(missing, fresh, strict=True))
                for image in missing:
                    self._recent.put(image, known[image])
            return [known[image] for image in images]


def _encoded(image: ImageFile) -> EncodedImage:
    content = image.read()
    # By the first bytes: names and extensions are not to be trusted.
    for signature, mime_type in _SIGNATURES.items():
        if re.match(signature, content, re.DOTALL):
            return EncodedImage(mime_type, b2a_base64(content, newline=False))
    raise ModelError(f"image {image.name}: its first bytes are no PNG, JPEG, WebP, GIF or BMP's")


class _RecentImages:
    """Encoded images, the least recently used dropped first once ``limit`` bytes are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._images: OrderedDict[ImageFile, EncodedImage] = OrderedDict()

    def get(self, image: ImageFile) -> EncodedImage | None:
        if image in self._images:
            self._images.move_to_end(image)
        return self._images.get(image)

    def put(self, image: ImageFile, encoded: EncodedImage) -> None:
        self._images[image] = encoded
        self._held += len(encoded.base64)
        while self._held > self._limit:
            _, dropped = self._images.popitem(last=False)
            self._held -= len(dropped.base64)
