"""What a run costs before it is made: questions, requests, images shown. Nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from migbench.benchmark import Plan, strategy_of
from migbench.questions import Purpose, Question, Turn

IMAGINED_ANSWER = "Image1"
"""Stands for every answer; it serves where a step must name an image."""


@dataclass
class Cost:
    """What one task costs; a description that several questions share is one request."""

    questions: int = 0
    targets: int = 0
    image_sets: int = 0
    requests: int = 0
    images_shown: int = 0


def plan_costs(plan: Plan) -> dict[str, Cost]:
    """The cost of every task of a plan.

    What a chain of thought asks in its second step depends on answers, but its number of requests
    and images does not. Duplicate instances are counted, though a run asks them once.
    """
    costs = {task: Cost() for task in plan.settings.tasks}
    seen_sets: set[tuple[str, ...]] = set()
    described: set[tuple[object, ...]] = set()
    for question in plan.questions:
        cost = costs[question.task]
        cost.questions += 1
        cost.targets += len(question.targets)
        if question.images not in seen_sets:
            seen_sets.add(question.images)
            cost.image_sets += 1
        for turn in imagined_turns(plan, question):
            description = (question.images, turn.text)
            if turn.purpose is Purpose.DESCRIBE and description in described:
                continue
            described.add(description)
            cost.requests += 1
            cost.images_shown += len(turn.images)
    return costs


def imagined_turns(plan: Plan, question: Question) -> Iterator[Turn]:
    """The turns of a question, if every answer were the same."""
    turns = strategy_of(plan.settings)(question)
    turn = next(turns)
    while True:
        yield turn
        try:
            turn = turns.send(IMAGINED_ANSWER)
        except StopIteration:
            return
