"""Clusters: image sets that share an image, by any chain, are one."""

from __future__ import annotations

from collections.abc import Sequence


def number_clusters(image_sets: Sequence[tuple[str, ...]]) -> list[int]:
    """The cluster of every image set, numbered from 0 in the order of their first sets."""
    from scipy.cluster.hierarchy import DisjointSet

    distinct = dict.fromkeys(image_sets)
    clusters = DisjointSet(distinct)
    first_with: dict[str, tuple[str, ...]] = {}
    for images in distinct:
        for image in images:
            clusters.merge(first_with.setdefault(image, images), images)
    numbers: dict[tuple[str, ...], int] = {}
    return [numbers.setdefault(clusters[images], len(numbers)) for images in image_sets]
