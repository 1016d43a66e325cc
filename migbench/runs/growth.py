"""Settings that ask more than others and are else the same: a run's folder may grow into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Difference = tuple[str, Any, Any]
"""A setting's name, its old value and its new one (`migbench.runs.settings.differences`)."""


def not_growth(changes: Iterable[Difference]) -> list[Difference]:
    """Those of the differences between two runs' settings after which not all is asked any more.

    A run grows by further tasks, by a larger ``--limit`` or none, by further instances, and from a
    shard to the whole.

    >>> not_growth([("limit", 5, 10), ("tasks.diff", None, "af3"), ("shard", None, "1/2")])
    [('shard', None, '1/2')]
    """
    return [each for each in changes if not _asks_more(*each)]


def _asks_more(name: str, before: Any, after: Any) -> bool:
    setting = name.partition(".")[0]
    grows = _GROWS.get(setting)
    return grows is not None and grows(before, after)


def _more_tasks(before: Any, after: Any) -> bool:
    return before is None and after is not None


def _larger_limit(before: Any, after: Any) -> bool:
    return before is not None and (after is None or after > before)


def _whole(before: Any, after: Any) -> bool:
    return isinstance(before, Mapping) and after is None


def _more_instances(before: Any, after: Any) -> bool:
    return before is not None and (after is None or set(before) <= set(after))


_GROWS: Mapping[str, Callable[[Any, Any], bool]] = {
    "tasks": _more_tasks,
    "limit": _larger_limit,
    "shard": _whole,
    "instances": _more_instances,
}
