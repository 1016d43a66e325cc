"""One run's figures on a terminal: accuracies, mean IoU, and what became of the targets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from migbench.reporting.tables.layouts import decimals_of
from migbench.reporting.tables.rows import margin, shown
from migbench.scoring import HIT, METRICS, Outcome, Scores
from migbench.scoring.summary import Figures
from migbench.tasks import load_tasks
from migbench.util.plain_table import plain_table

OUTCOME_COLUMNS = {
    Outcome.HIT: "hit",
    Outcome.MISS: "miss",
    Outcome.MISSING: "missing",
    Outcome.UNREADABLE: "unread.",
    Outcome.REFUSED: "refused",
    Outcome.TRUNCATED: "trunc.",
    Outcome.MODEL_ERROR: "error",
}


def scores_table(scores: Scores) -> str:
    """One run's figures: accuracies, mean IoU and what became of the targets, task by task.

    Acc@0.5, and image-level accuracy where there is one, have half the width of their interval
    behind them.
    """
    header, body = scores_cells(scores)
    align = ["left", *["right"] * (len(header) - 1)]
    return plain_table(body, header, align=align)


def scores_cells(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """The same as header and lines; of a partial metric, only where a target counts for it."""
    columns = {spec.key: spec.column for spec in load_tasks()}
    metrics = [name for name in METRICS if scores.macro.counts_for(name)]
    titles = ((METRICS[name].title, *["±"] * _has_margin(name)) for name in metrics)
    header = ["Task", "n", *chain.from_iterable(titles), *OUTCOME_COLUMNS.values()]
    body = []
    for key, score in [*scores.tasks.items(), ("macro", scores.macro)]:
        figures = [cell for name in metrics for cell in _cells(score, name)]
        counts = [str(score.outcomes[outcome] or "") for outcome in OUTCOME_COLUMNS]
        label = columns.get(key, f"macro ({scores.macro.tasks})")
        body.append([label, str(score.n), *figures, *counts])
    return header, body


def _cells(figures: Figures, name: str) -> Iterator[str]:
    """The figure by one metric, and half its interval's width where that is shown."""
    yield shown(figures.figure(name), decimals_of(name))
    if _has_margin(name):
        yield margin(figures.interval(name)).removeprefix("±")


def _has_margin(name: str) -> bool:
    return name == HIT or METRICS[name].partial
