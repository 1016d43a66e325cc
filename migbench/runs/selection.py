"""What a run asks: its targets and their questions, looked up a part at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from migbench.asking.evaluators import EVALUATORS, SHARED, Sharing
from migbench.asking.questions import Question
from migbench.data import chunks
from migbench.data.annotations import Annotations, Instance
from migbench.data.hash_index import HashIndex
from migbench.runs.settings import Settings
from migbench.runs.sharding import share_of


def questions_of(settings: Settings, annotations: Annotations) -> Iterable[Question]:
    """The questions that a run under these settings asks."""
    questions = EVALUATORS[settings.evaluator](_selected(settings, annotations))
    return share_of(settings.shard, questions) if settings.shard else questions


def _selected(settings: Settings, annotations: Annotations) -> Iterator[Instance]:
    taken = dict.fromkeys(settings.tasks, 0)
    for instance in annotations.instances:
        number = taken.get(instance.task)
        if number is not None and (settings.limit is None or number < settings.limit):
            taken[instance.task] = number + 1
            yield instance


class Selection:
    """The targets of a run, in the annotation file's order, and the questions about them."""

    def __init__(self, settings: Settings, annotations: Annotations) -> None:
        """Of every target no more is kept than its place, and what finds those it is asked with."""
        self._instances = annotations.instances
        self._evaluator = EVALUATORS[settings.evaluator]
        self._sharing = SHARED.get(settings.evaluator)
        self._places = _places(settings, annotations)

    def __len__(self) -> int:
        """The number of targets."""
        return len(self._places)

    def places(self, start: int, stop: int) -> range:
        """The range of places in the annotation file that these targets span."""
        places = self._places[start:stop]
        return range(places[0], places[-1] + 1)

    def questions(self, start: int, stop: int) -> Iterator[Question]:
        """All questions about any of these targets; others may be among theirs."""
        targets = list(self._instances.take(self._places[start:stop]))
        if self._sharing and len(targets) < len(self):
            targets += self._siblings(targets, self._sharing)
            targets.sort(key=lambda each: each.index)
        return self._evaluator(targets)

    def _siblings(self, targets: Sequence[Instance], sharing: Sharing) -> list[Instance]:
        """The other instances that are asked for together with one of these."""
        wanted = {shared for each in targets if (shared := sharing(each)) is not None}
        known = {each.index for each in targets}
        found = (
            self._instances[place] for place in self._shared.find(wanted) if place not in known
        )
        return [each for each in found if sharing(each) in wanted]

    @cached_property
    def _shared(self) -> HashIndex:
        """Where the instances lie that are asked for together."""
        index = HashIndex()
        assert self._sharing is not None
        for instance in self._instances.take(self._places):
            if (shared := self._sharing(instance)) is not None:
                index.add(shared, instance.index)
        return index

    def parts(self) -> Iterator[list[Question]]:
        """Every question once, a part of them at a time."""
        for start in range(0, len(self), chunks.CHUNK):
            stop = start + chunks.CHUNK
            first = self._places[start]
            yield [
                question
                for question in self.questions(start, stop)
                if min(each.index for each in question.targets) >= first
            ]


def _places(settings: Settings, annotations: Annotations) -> Sequence[int]:
    if settings.shard:
        asked = questions_of(settings, annotations)
        return array("q", sorted(each.index for one in asked for each in one.targets))
    if settings.limit is None and annotations.counts.keys() <= settings.tasks.keys():
        return range(len(annotations.instances))
    return array("q", (each.index for each in _selected(settings, annotations)))
