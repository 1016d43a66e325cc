"""Targets in groups: by task, by level, by image cluster."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from migbench.data.annotations import Instance

ClusterOf = Callable[[Instance], int]
"""The number of an instance's image cluster."""

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def group_by(items: Iterable[Item], key_of: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key; groups and items in their order.

    >>> group_by([3, 4, 5], lambda number: number % 2)
    {1: [3, 5], 0: [4]}
    """
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key_of(item), []).append(item)
    return groups
