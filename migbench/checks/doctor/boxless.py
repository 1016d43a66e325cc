"""Why a run's answers hold no box, and which known dialects read them; no ground truth is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from migbench.asking.questions import Question
from migbench.checks.doctor.answers import AnswerFormat, holds_box, parse_answers
from migbench.checks.doctor.conventions import flags
from migbench.checks.doctor.findings import Severity, counted, without_box
from migbench.checks.doctor.numbers import BoxNumbers, number_statistics
from migbench.checks.doctor.stored_run import against, box_numbers
from migbench.data.annotations import Annotations
from migbench.dialects import Dialect, PromptSet, load_dialects
from migbench.runs.answer_lines import Lines
from migbench.runs.settings import Settings
from migbench.scoring import Outcome

_MOST = 3
"""Dialects that are named."""


class Boxless(NamedTuple):
    """What answers hold in place of a box, and the options that would read them, best first."""

    reason: str
    flags: tuple[str, ...] = ()


def why_no_box(
    settings: Settings, questions: Sequence[Question], lines: Lines, annotations: Annotations
) -> Boxless:
    """Why answers to these questions hold no box in the declared dialect."""
    model = settings.model
    answers, form = parse_answers(settings, questions, lines, annotations.cluster_of)
    whys = sorted(without_box(model, form), key=lambda each: each.severity is not Severity.PROBLEM)
    reason = " ".join(each.text for each in whys[:1]) or "no answer holds one"
    if max(form.outcomes, key=lambda each: form.outcomes[each], default=None) is Outcome.UNREADABLE:
        syntax = ", ".join(form.declared)
        reason = (
            f"dialect {model.dialect.name} is declared, with {syntax}. They hold: "
            f"{counted(form.reasons)}"
        )
    reason = reason.removesuffix(".")
    if form.used == form.declared:
        return Boxless(reason, next((each.flags for each in whys if each.flags), ()))
    names = likely_dialects(form, box_numbers(answers))
    if names:
        return Boxless(reason, tuple(f"--dialect {name}" for name in names[:_MOST]))
    custom = flags(
        model.dialect,
        model.dialect.convention,
        form.used,
        PromptSet(settings.prompts),
        form.samples,
    )
    return Boxless(reason, custom)


def likely_dialects(answers: AnswerFormat, boxes: Sequence[BoxNumbers]) -> list[str]:
    """Known dialects that read what was written, and under which its numbers can be boxes.

    Those in whose numbers least is odd, and of these the ones whose first way of writing it is.
    """
    ranked = sorted(_readers(answers, boxes), key=lambda each: each[0])
    return [name for rank, name in ranked if rank == ranked[0][0]]


def _readers(
    answers: AnswerFormat, boxes: Sequence[BoxNumbers]
) -> Iterator[tuple[tuple[int, bool], str]]:
    for name, dialect in load_dialects().items():
        if dialect.unsupported or not _reads(dialect, answers):
            continue
        numbers = number_statistics(boxes, dialect.convention)
        if numbers is None:
            continue
        odd = against(dialect.convention, numbers)
        problems = sum(each.severity is Severity.PROBLEM for each in odd)
        yield (problems, dialect.syntax[0] not in answers.used), name


def _reads(dialect: Dialect, answers: AnswerFormat) -> bool:
    return set(answers.used) <= set(dialect.syntax) and all(
        holds_box(dialect, sample) for sample in answers.samples
    )
