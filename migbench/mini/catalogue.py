"""The ten tasks by their key in MIG_data.json, and the image sets that each of them yields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from migbench.errors import UsageError
from migbench.mini import composites, differences, group, reasoning, repeats
from migbench.mini.drawing import draw
from migbench.mini.scene import ImageSet, Plan
from migbench.mini.splits import Split, stream


@dataclass(frozen=True, slots=True)
class MiniTask:
    """How one task plans an image set, and what MIG_data.json says under ``need_format``."""

    plan: Callable[[np.random.Generator, Split], Plan]
    need_format: bool = True


TASKS: MappingProxyType[str, MiniTask] = MappingProxyType(
    {
        "diff": MiniTask(differences.diff),
        "view_diff": MiniTask(differences.view_diff),
        "common_object": MiniTask(repeats.common_object),
        "object_tracking": MiniTask(repeats.object_tracking, need_format=False),
        "multi_view": MiniTask(repeats.multi_view),
        "region": MiniTask(repeats.region),
        "refer_grounding": MiniTask(repeats.refer_grounding),
        "group_grounding": MiniTask(group.group_grounding, need_format=False),
        "reasoning": MiniTask(reasoning.reasoning),
        "correspondence": MiniTask(composites.correspondence),
    }
)
"""A new task is one function that plans an image set, and its line here."""


def plan(task: str, index: int, *, seed: int = 0, split: Split = "test") -> Plan:
    """What image set number ``index`` of a task will show and ask; `scene` draws it.

    Raises `UsageError` for an unknown task or split, or a negative seed.
    """
    if task not in TASKS:
        raise UsageError(f"MIG-Mini has no task {task!r}; its tasks are {', '.join(TASKS)}")
    return TASKS[task].plan(stream(seed, split, task, index), split)


def scene(task: str, index: int, *, seed: int = 0, split: Split = "test") -> ImageSet:
    """Image set number ``index`` (from 0) of a task, drawn in memory.

    It depends on these four arguments alone, so image sets can be drawn in any order and in
    several processes. Raises `UsageError` as `plan` does.
    """
    return draw(plan(task, index, seed=seed, split=split), task, TASKS[task].need_format)


def scenes(
    task: str, *, seed: int = 0, split: Split = "test", start: int = 0
) -> Iterator[ImageSet]:
    """All image sets of a task from number ``start`` on, drawn as they are asked for, without end.

    Raises `UsageError` as `plan` does, at the first image set.
    """
    for index in itertools.count(start):
        yield scene(task, index, seed=seed, split=split)
