"""Which prompts begin alike: the places behind a prompt's images, and what is kept for them.

Pure arithmetic on tokens and file digests. What a place is worth, the state of a model that has
read the prompt up to there, is `reuse`'s concern.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Cut", "PrefixStore", "cuts"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a prompt, right behind an image.

    ``length`` counts the tokens before it; ``key`` is a digest of those and of the images among
    them: equal for two prompts exactly if they are the same up to there.
    """

    length: int
    key: bytes


def cuts(tokens: Sequence[int], image_token: int, images: Sequence[str]) -> tuple[Cut, ...]:
    """The places behind the images of a prompt, in order; ``images`` are their digests.

    An image is a run of ``image_token``. Where runs and images do not correspond (a family that
    shows tiles, or images side by side), the only place is behind the last; and there is none at
    the end of a prompt, since a model cannot go on from there without reading a token.
    """
    ends = [
        place
        for place, token in enumerate(tokens, 1)
        if token == image_token and (place == len(tokens) or tokens[place] != image_token)
    ]
    if not ends or not images or ends[-1] == len(tokens):
        return ()
    shown: list[Sequence[str]] = [[image] for image in images]
    if len(ends) != len(images):
        ends, shown = ends[-1:], [images]
    found = []
    digest = hashlib.sha256()
    start = 0
    for end, new in zip(ends, shown, strict=True):
        digest.update(f"{end - start} tokens, {len(new)} images\0".encode())
        digest.update(array("q", tokens[start:end]).tobytes())
        for image in new:
            digest.update(image.encode() + b"\0")
        found.append(Cut(end, digest.digest()))
        start = end
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    lengths: dict[bytes, int]
    content: T
    size: int


class PrefixStore(Generic[T]):
    """What is kept for the beginnings of prompts: the latest used, up to ``most_bytes``."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[bytes, _Entry[T]] = OrderedDict()
        self._bytes = 0

    def longest(self, places: Sequence[Cut]) -> tuple[int, T | None]:
        """The longest known beginning of a prompt with these places: its length, and what is kept.

        That may have been kept for more tokens; the first ones count. (0, None) if none is known.
        """
        for place in reversed(places):
            for key, entry in self._entries.items():
                if place.key in entry.lengths:
                    self._entries.move_to_end(key)
                    return place.length, entry.content
        return 0, None

    def put(self, places: Sequence[Cut], content: T, size: int) -> None:
        """Keep ``content``, of ``size`` bytes, for a prompt read up to the last of its places."""
        self._forget(places[-1].key)
        lengths = {place.key: place.length for place in places}
        self._entries[places[-1].key] = _Entry(lengths, content, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._entries)))

    def keep_only(self, needed: Iterable[Sequence[Cut]]) -> bool:
        """Forget what no prompt with one of these places needs; whether there was anything."""
        wanted = {places[-1].key for places in needed if places}
        unneeded = [
            key for key, entry in self._entries.items() if not wanted & entry.lengths.keys()
        ]
        for key in unneeded:
            self._forget(key)
        return bool(unneeded)

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
