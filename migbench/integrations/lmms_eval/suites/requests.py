"""lmms-eval's chats as requests of migbench."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from migbench.messages import Generation, ImageFile, ModelError, Part, Request
from migbench.messages.image_decoding import flatten
from migbench.util.hashing import short_hash


def to_request(
    messages: Sequence[Mapping[str, Any]], generation: Generation, folder: Path, mark: str = ""
) -> Request:
    """A chat of one turn, images in their order; decoded ones become lossless files in the folder.

    ``mark`` is what the model's family writes where an image stands: where the texts hold one for
    every image, the images stand there. Raises `ModelError` for what adapters cannot be asked.
    """
    parts: list[Part] = []
    system: str | None = None
    for message in messages:
        found = list(_parts(message["content"], folder))
        if message["role"] == "system":
            system = "".join(part for part in found if isinstance(part, str))
        elif message["role"] == "user":
            parts += found
        else:
            raise ModelError(f"the task shows what the {message['role']} has said; one turn is all")
    images = [part for part in parts if isinstance(part, ImageFile)]
    return Request(
        parts=tuple(_at_marks(parts, images, mark)),
        generation=generation,
        image_set=short_hash(*(image.name for image in images)),
        system=system,
    )


def _at_marks(parts: list[Part], images: Sequence[ImageFile], mark: str) -> list[Part]:
    """The parts with the images where the texts have marks for them, if they have any."""
    text = "".join(part for part in parts if isinstance(part, str))
    marks = text.count(mark) if mark else 0
    if not marks:
        return parts
    if marks != len(images):
        raise ModelError(
            f"the task's text has {marks} times {mark}, which the model takes for an image, "
            f"and {len(images)} images"
        )
    first, *others = text.split(mark)
    pieces: list[Part] = [first]
    for image, after in zip(images, others, strict=True):
        pieces += [image, after]
    return [piece for piece in pieces if piece != ""]


def _parts(content: Any, folder: Path) -> Iterator[Part]:
    if isinstance(content, str):
        yield content
        return
    for part in content:
        if part["type"] == "text":
            yield part["text"]
        elif part["type"] == "image":
            yield _image(part["url"], folder)
        else:
            raise ModelError(f"the task shows a {part['type']}; migbench's adapters take images")


def _image(source: Any, folder: Path) -> ImageFile:
    """A file's own bytes where there is one; pixels are stored without loss under their hash."""
    if isinstance(source, str):
        path = Path(source)
        if not path.is_file():
            raise ModelError(f"image {source}: there is no such file")
        return ImageFile(source, path)
    picture = flatten(source)
    digest = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
    path = folder / f"{digest}.png"
    if not path.exists():
        picture.save(path, compress_level=1)
    return ImageFile(digest, path)
