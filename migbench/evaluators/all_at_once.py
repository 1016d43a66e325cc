"""All at once: one question for all targets of an image set.

The paper measures this form (Table 10) but publishes neither its code nor its wordings: the
questions in the task files are ours. Tasks without such a question, whose image sets hold one
target each or whose questions are about different objects, ask the same in both forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from migbench.data.annotations import Instance
from migbench.evaluators.polling import polling
from migbench.hashing import short_hash
from migbench.questions import REFERENCE_BOX, Asked, Question
from migbench.tasks import find_task


@dataclass
class _Group:
    """The instances of one image set and reference box, by the number that they ask for."""

    reference: str
    by_number: dict[int, list[Instance]] = field(default_factory=dict)


def all_at_once(instances: Iterable[Instance]) -> Iterator[Question]:
    """One question for every image set and reference box; other tasks' questions as in polling.

    The question asks for everything that there is to find, also where an instance is missing from
    the data; only the instances that are there are scored.
    """
    groups: dict[tuple[str, ...], _Group] = {}
    for instance in instances:
        form = find_task(instance.task).all_at_once
        if form is None:
            yield from polling([instance])
            continue
        found = REFERENCE_BOX.search(instance.question)
        reference = found.group() if found else ""
        group = groups.setdefault((instance.task, reference, *instance.images), _Group(reference))
        # Without a number of its own, the question is about the image that holds the target.
        number = form.number(instance.question) or instance.target_image + 1
        group.by_number.setdefault(number, []).append(instance)
    for (task, *_), group in groups.items():
        yield _question(task, group)


def _question(task: str, group: _Group) -> Question:
    form = find_task(task).all_at_once
    assert form is not None
    asked = tuple(
        Asked(form.noun, number, tuple(found)) for number, found in sorted(group.by_number.items())
    )
    images = asked[0].instances[0].images
    text = form.question.format(box=group.reference)
    return Question(f"{task}-all-{short_hash(*images, group.reference)}", asked, text)
