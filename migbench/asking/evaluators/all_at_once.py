"""All at once: one question for all targets of an image set.

The paper measures this form (Table 10) but publishes neither its code nor its wordings: the
questions in the task files are ours. Tasks without such a question, whose image sets hold one
target each or whose questions are about different objects, ask the same in both forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import REFERENCE_BOX, Asked, Question
from migbench.data.annotations import Instance
from migbench.tasks import Noun, find_task
from migbench.util.hashing import short_hash


def shared_question(instance: Instance) -> tuple[str, ...] | None:
    """What instances of one question have in common: task, reference box (or ``""``) and images."""
    if find_task(instance.task).all_at_once is None:
        return None
    found = REFERENCE_BOX.search(instance.question)
    return instance.task, found.group() if found else "", *instance.images


def all_at_once(instances: Iterable[Instance]) -> Iterator[Question]:
    """One question for every image set and reference box; other tasks' questions as in polling.

    The question asks for everything that there is to find, also where an instance is missing from
    the data; only the instances that are there are scored.
    """
    groups: dict[tuple[str, ...], list[Instance]] = {}
    for instance in instances:
        shared = shared_question(instance)
        if shared is None:
            yield from polling([instance])
        else:
            groups.setdefault(shared, []).append(instance)
    for (task, reference, *_), group in groups.items():
        yield _question(task, reference, group)


def _question(task: str, reference: str, group: Sequence[Instance]) -> Question:
    form = find_task(task).all_at_once
    assert form is not None
    by_number: dict[int, list[Instance]] = {}
    for instance in group:
        # Without a number of its own, the question is about the image that holds the target.
        number = form.number(instance.question) or instance.target_image + 1
        by_number.setdefault(number, []).append(instance)
    asked = tuple(
        Asked(form.noun, number, tuple(found)) for number, found in sorted(by_number.items())
    )
    images = group[0].images
    text = form.question.format(box=reference)
    return Question(
        f"{task}-all-{short_hash(*images, reference)}",
        asked,
        text,
        wants_images=form.noun is Noun.IMAGE,
    )
