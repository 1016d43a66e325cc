"""What a run uses: estimated before it is made, and measured after. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from migbench.asking.dialogue import Dialogue
from migbench.asking.questions import Purpose, Question, Turn
from migbench.messages import Answer
from migbench.runs.plan import Plan, strategy_of
from migbench.runs.replay import replay
from migbench.runs.selection import questions_of
from migbench.scoring.scored_run import ScoredRun

IMAGINED_ANSWER = Answer("Image1")
"""Stands for every answer; it serves where a step must name an image."""


@dataclass
class EstimatedUsage:
    """What one task uses; a description that several questions share is one request."""

    questions: int = 0
    targets: int = 0
    image_sets: int = 0
    requests: int = 0
    images_shown: int = 0


def estimate_usage(plan: Plan) -> dict[str, EstimatedUsage]:
    """What every task of a plan will use.

    What a chain of thought asks in its second step depends on answers, but its number of requests
    and images does not. Duplicate instances are counted, though a run asks them once.
    """
    usage = {task: EstimatedUsage() for task in plan.settings.tasks}
    seen_sets: set[tuple[str, ...]] = set()
    described: set[tuple[object, ...]] = set()
    for question in plan.questions:
        of_task = usage[question.task]
        of_task.questions += 1
        of_task.targets += len(question.targets)
        if question.images not in seen_sets:
            seen_sets.add(question.images)
            of_task.image_sets += 1
        for turn in imagined_turns(plan, question):
            description = (question.images, turn.text)
            if turn.purpose is Purpose.DESCRIBE and description in described:
                continue
            described.add(description)
            of_task.requests += 1
            of_task.images_shown += len(turn.images)
    return usage


def imagined_turns(plan: Plan, question: Question) -> Iterator[Turn]:
    """The turns of a question, if every answer were the same."""
    dialogue = Dialogue(strategy_of(plan.settings)(question))
    for turn in dialogue:
        yield turn
        dialogue.tell(IMAGINED_ANSWER)


TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")
"""What adapters count, as answers and usage call it."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has used, by its stored answers.

    ``requests`` are those that were answered; an answer that was reused has used nothing.
    ``images_shown`` counts an image once for every request that shows it. Tokens are as the adapter
    counted them, None where it did not for every answer; ``cached_tokens`` are those of the prompts
    that a prefix cache served. ``wall_seconds`` is the manifest's.
    """

    requests: int
    images_shown: int
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    wall_seconds: float | None


def measured_usage(scored: ScoredRun) -> Usage:
    """What a run has used; an incomplete run has used less than it will."""
    run = scored.run
    strategy = strategy_of(run.settings)
    requests = images_shown = 0
    tokens: dict[str, int | None] = dict.fromkeys(TOKENS, 0)
    for question in questions_of(run.settings, scored.annotations):
        for turn, line in replay(strategy(question), question.id, run.lines):
            if line is None or line.answer is None or line.text is None or line.reused:
                continue
            requests += 1
            images_shown += len(turn.images)
            for kind, total in tokens.items():
                more: int | None = getattr(line.answer, kind)
                tokens[kind] = None if total is None or more is None else total + more
    return Usage(
        requests=requests,
        images_shown=images_shown,
        wall_seconds=run.manifest.wall_seconds,
        **tokens,
    )
