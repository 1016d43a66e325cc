"""What a run asks: the questions about its targets."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Question
from migbench.data.annotations import Annotations, Instance
from migbench.runs.settings import Settings
from migbench.runs.sharding import share_of


def questions_of(settings: Settings, annotations: Annotations) -> list[Question]:
    """The questions that a run under these settings asks."""
    questions = list(EVALUATORS[settings.evaluator](_selected(settings, annotations)))
    return share_of(settings.shard, questions) if settings.shard else questions


def _selected(settings: Settings, annotations: Annotations) -> Iterator[Instance]:
    """The first instances of each task, as many as the settings' limit says."""
    taken = dict.fromkeys(settings.tasks, 0)
    wanted = None if settings.instances is None else frozenset(settings.instances)
    for instance in annotations.instances:
        if wanted is not None and instance.id not in wanted:
            continue
        number = taken.get(instance.task)
        if number is not None and (settings.limit is None or number < settings.limit):
            taken[instance.task] = number + 1
            yield instance
