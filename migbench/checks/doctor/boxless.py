"""Why a run's answers hold no box, and which known dialects read them; no ground truth is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from migbench.asking.questions import Question
from migbench.checks.doctor.answers import Speech, holds_box_in, listen, written
from migbench.checks.doctor.conventions import flags
from migbench.checks.doctor.finished import against
from migbench.checks.doctor.plausibility import Given, numerals
from migbench.checks.doctor.verdict import Severity, told, unread
from migbench.dialects import Dialect, PromptSet, load_dialects
from migbench.models.resolving import Model
from migbench.runs.settings import Settings
from migbench.runs.store import Lines
from migbench.scoring import Outcome

UNREADABLE = Outcome.UNREADABLE

_MOST = 3
"""Dialects that are named."""


class Boxless(NamedTuple):
    """What answers hold in place of a box, and the options that would read them, best first."""

    reason: str
    flags: tuple[str, ...] = ()


def why_no_box(settings: Settings, questions: Sequence[Question], lines: Lines) -> Boxless:
    """Why answers to these questions hold no box in the declared dialect."""
    model = settings.model
    found = written(settings, questions, lines)
    speech = listen(found, range(len(found)), model.dialect)
    whys = sorted(unread(model, speech), key=lambda each: each.severity is not Severity.PROBLEM)
    reason = " ".join(each.text for each in whys[:1]) or "no answer holds one"
    if max(speech.outcomes, key=lambda each: speech.outcomes[each], default=None) is UNREADABLE:
        syntax = ", ".join(speech.declared)
        reason = f"dialect {model.dialect.name} is declared, with {syntax}. {told(speech.reasons)}"
    reason = reason.removesuffix(".")
    if speech.used == speech.declared:
        return Boxless(reason, next((each.flags for each in whys if each.flags), ()))
    found = written(settings, questions, lines, speech.used)
    given = [
        Given(each.numbers, each.line.size(each.instance.target_image) if each.line else None, at)
        for at, each in enumerate(found)
        if each.numbers
    ]
    names = likely_dialects(model, speech, given)
    if names:
        return Boxless(reason, tuple(f"--dialect {name}" for name in names[:_MOST]))
    custom = flags(
        model.dialect,
        model.dialect.convention,
        speech.used,
        PromptSet(settings.prompts),
        speech.samples,
    )
    return Boxless(reason, custom)


def likely_dialects(model: Model, speech: Speech, given: Sequence[Given]) -> list[str]:
    """Known dialects that read what was written, and under which its numbers can be boxes.

    Those in whose numbers least is odd, and of these the ones whose first way of writing it is.
    """
    ranked = sorted(_readers(model, speech, given), key=lambda each: each[0])
    return [name for rank, name in ranked if rank == ranked[0][0]]


def _readers(
    model: Model, speech: Speech, given: Sequence[Given]
) -> Iterator[tuple[tuple[int, bool], str]]:
    for name, dialect in load_dialects().items():
        if dialect.unsupported or not _reads(dialect, speech):
            continue
        numbers = numerals(given, dialect.convention)
        if numbers is None:
            continue
        odd = against(replace(model, dialect=dialect), numbers)
        problems = sum(each.severity is Severity.PROBLEM for each in odd)
        yield (problems, dialect.syntax[0] not in speech.used), name


def _reads(dialect: Dialect, speech: Speech) -> bool:
    return set(speech.used) <= set(dialect.syntax) and all(
        holds_box_in(dialect, sample) for sample in speech.samples
    )
