"""Scored runs as rows: what they are called, what their figures are, and what must stand below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from migbench.reporting.tables.layouts import Layout
from migbench.reporting.tables.rows import Row
from migbench.scoring import METRICS, Bootstrap, Scores

FORMS = {"polling": "Polling", "all-at-once": "All"}
"""What Table 10 calls the evaluators."""
CHAINS = {"direct": "", "cot": "+CoT", "mcot": "+mCoT"}
"""What the paper calls the strategies."""


def run_row(
    layout: Layout, scores: Scores, labels: tuple[str, ...], *, intervals: bool = False
) -> Row:
    """A scored run as a row of a layout, with its figures' intervals if wanted."""
    return Row(
        labels=labels,
        figures={column.key: column.figure(scores) for column in layout.columns},
        annotations=scores.annotations.label,
        intervals={column.key: column.interval(scores) for column in layout.columns}
        if intervals
        else {},
    )


def run_labels(
    folders: Sequence[Path], scored: Sequence[Scores], *, setting_apart: bool = False
) -> list[tuple[str, ...]]:
    """What runs are called: model and setting, with the folder's name where that is not enough.

    As one label, ``migician +CoT (all at once)``; with the setting apart, ``migician`` and
    ``All+CoT``.
    """
    names = [
        _model_and_setting(scores) if setting_apart else (_label(scores),) for scores in scored
    ]
    return [
        (f"{name[0]} ({folder.name})", *name[1:]) if names.count(name) > 1 else name
        for folder, name in zip(folders, names, strict=True)
    ]


def _label(scores: Scores) -> str:
    form = "" if scores.evaluator == "polling" else f"({scores.evaluator.replace('-', ' ')})"
    return " ".join(filter(None, (scores.model, CHAINS[scores.strategy], form)))


def _model_and_setting(scores: Scores) -> tuple[str, str]:
    return scores.model, FORMS[scores.evaluator] + CHAINS[scores.strategy]


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
        yield (
            f"{label}: run {scores.run[:12]}, protocol {scores.protocol}, "
            f"annotations {scores.annotations.label}, corrections {scores.corrections}, "
            f"{scores.evaluator}, {scores.strategy}, prompts {scores.prompts}{accepted}"
        )
        yield from (f"{label}: {event}" for event in scores.history)
