"""Scored runs as rows: what they are called, what their figures are, and what must stand below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from migbench.errors import UsageError
from migbench.reporting.tables.layouts import Layout
from migbench.reporting.tables.rows import Row
from migbench.scoring import METRICS, Bootstrap, Scores, coverage_of

FORMS = {"polling": "Polling", "all-at-once": "All"}
"""What Table 10 calls the evaluators."""
CHAINS = {"direct": "", "cot": "+CoT", "mcot": "+mCoT"}
"""What the paper calls the strategies."""


def run_row(
    layout: Layout, scores: Scores, labels: tuple[str, ...], *, intervals: bool = False
) -> Row:
    """A scored run as a row of a layout, with its figures' intervals if wanted.

    It is ranked where it was asked all instances that the layout's figures stand for.
    """
    coverage = coverage_of(scores, layout.tasks)
    return Row(
        labels=labels,
        figures={column.key: column.figure(scores) for column in layout.columns},
        annotations=scores.annotations.label,
        ranked=not coverage.is_part,
        intervals={column.key: column.interval(scores) for column in layout.columns}
        if intervals
        else {},
        facts={
            "run": scores.run[:12],
            "protocol": scores.protocol,
            "evaluator": scores.evaluator,
            "strategy": scores.strategy,
            "n": str(coverage.asked),
            "N": str(coverage.of),
        },
    )


def run_labels(
    folders: Sequence[Path],
    scored: Sequence[Scores],
    *,
    setting_apart: bool = False,
    names: Sequence[str] = (),
    tasks: Iterable[str] | None = None,
) -> list[tuple[str, ...]]:
    """What runs are called: model and setting, with the folder's name where that is not enough.

    As one label, ``migician +CoT (all at once)``; with the setting apart, ``migician`` and
    ``All+CoT``. A run that its user has named is called by that name, and by the one of ``names``
    at its place where that is not empty. Behind the name of a run that was not asked everything (of
    these ``tasks``, else of all) stands ``[30 of 4,295]``. Raises `UsageError` where there are
    names, but not as many as runs.
    """
    if names and len(names) != len(scored):
        raise UsageError(
            f"--names: {len(names)} names for {len(scored)} runs; give one for each, with commas "
            "between them, and nothing between two commas for a run that keeps its own"
        )
    named = [
        name or scores.name
        for name, scores in zip(names or [""] * len(scored), scored, strict=True)
    ]
    settings = [(_setting(scores),) if setting_apart else () for scores in scored]
    firsts = [
        name or (scores.model if setting_apart else _model_and_form(scores))
        for name, scores in zip(named, scored, strict=True)
    ]
    marks = [coverage_of(scores, tasks).mark for scores in scored]
    labels = [*zip(firsts, marks, settings, strict=True)]
    return [
        (f"{first} ({folder.name}){mark}" if labels.count(label) > 1 else first + mark, *setting)
        for folder, label in zip(folders, labels, strict=True)
        for first, mark, setting in [label]
    ]


def run_label(scores: Scores) -> str:
    """What a run is called that stands alone: its name or its model, and how much was asked."""
    return f"{scores.name or scores.model}{coverage_of(scores).mark}"


def _model_and_form(scores: Scores) -> str:
    form = "" if scores.evaluator == "polling" else f"({scores.evaluator.replace('-', ' ')})"
    return " ".join(filter(None, (scores.model, CHAINS[scores.strategy], form)))


def _setting(scores: Scores) -> str:
    return FORMS[scores.evaluator] + CHAINS[scores.strategy]


def interval_note(bootstrap: Bootstrap | None) -> str:
    """What must stand under a table with intervals."""
    how = "by formula"
    if bootstrap:
        how = f"from {bootstrap.draws:,} resamples, seed {bootstrap.seed}"
    return f"Intervals of 95 %, by image cluster, {how} (docs/statistics.md)."


def metric_note(metric: str) -> str:
    """What a metric's figures are, as the beginning of a note."""
    about = METRICS[metric]
    what = f"{about.title} in percent" if about.share else f"{about.title}, a fraction"
    return f"{what} (docs/protocols.md)" if about.partial else what


def run_notes(scored: Iterable[tuple[str, Scores]]) -> Iterable[str]:
    """What must stand under a table: how each run was made and scored."""
    for label, scores in scored:
        errors = scores.model_errors
        accepted = f"; {errors} model errors counted as misses" if errors else ""
        if errors and not scores.accepted_model_errors:
            accepted = f"; INCOMPLETE: {errors} targets without an answer"
        coverage = coverage_of(scores)
        asked = f"{coverage} instances, " if coverage.is_part else ""
        model = f"model {scores.model}, " if scores.name else ""
        yield (
            f"{label}: {asked}{model}run {scores.run[:12]}, protocol {scores.protocol}, "
            f"annotations {scores.annotations.label}, corrections {scores.corrections}, "
            f"{scores.evaluator}, {scores.strategy}, prompts {scores.prompts}{accepted}"
        )
        yield from (f"{label}: {event}" for event in scores.history)
