"""Clusters: image sets that share an image, by any chain, are one."""

from __future__ import annotations

from collections.abc import Sequence


def number_clusters(image_sets: Sequence[Sequence[str]]) -> list[int]:
    """The cluster of every image set, numbered from 0 in the order of their first sets."""
    from scipy.cluster.hierarchy import DisjointSet

    sets = DisjointSet(range(len(image_sets)))
    first_with: dict[str, int] = {}
    for place, images in enumerate(image_sets):
        for image in images:
            sets.merge(first_with.setdefault(image, place), place)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(sets[place], len(numbers)) for place in range(len(image_sets))]
