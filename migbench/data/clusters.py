"""Clusters: image sets that share an image, by any chain, are one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np


def number_clusters(image_sets: Iterable[Sequence[str]]) -> Sequence[int]:
    """The cluster of every image set, numbered from 0 in the order of their first sets."""
    sizes = array("q")
    digests = bytearray()
    for images in image_sets:
        sizes.append(len(images))
        for image in images:
            digests += blake2b(image.encode(), digest_size=16).digest()
    numbers = _number(digests)
    parent = array("q", range(len(numbers)))

    def root(image: int) -> int:
        while (up := parent[image]) != image:
            parent[image] = parent[up]
            image = up
        return image

    start = 0
    firsts = array("q")
    for size in sizes:
        first, *others = (root(image) for image in numbers[start : start + size])
        for other in others:
            parent[other] = first
        firsts.append(first)
        start += size
    clusters: dict[int, int] = {}
    return array("q", (clusters.setdefault(root(first), len(clusters)) for first in firsts))


def _number(digests: bytearray) -> Sequence[int]:
    """Equal numbers for equal digests of 16 bytes, which stand for the names of images."""
    halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    order = np.lexsort(halves.T)
    numbers = np.zeros(len(halves), np.int64)
    numbers[order[1:]] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1).cumsum()
    return array("q", numbers.tobytes())
