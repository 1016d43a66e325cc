"""One run's figures on a terminal: accuracies, mean IoU, and what became of the targets."""

from __future__ import annotations

from migbench.reporting.tables.layouts import decimals_of
from migbench.reporting.tables.rows import with_ends
from migbench.scoring import HIT, METRICS, Outcome, Scores, coverage_of
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


def scores_table(scores: Scores, width: int | None = None) -> str:
    """One run's figures: accuracies, mean IoU and what became of the targets, task by task.

    Acc@0.5, and image-level accuracy where there is one, have their interval behind them. Columns
    are folded into ``width`` characters.
    """
    header, body = scores_cells(scores)
    align = ["left", *["right"] * (len(header) - 1)]
    return plain_table(body, header, align=align, width=width)


def scores_cells(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """The same as header and lines; of a partial metric, only where a target counts for it.

    Where the run was not asked everything, the numbers of instances in the file have a column.
    """
    columns = {spec.key: spec.column for spec in load_tasks()}
    metrics = [name for name in METRICS if scores.macro.counts_for(name)]
    in_part = coverage_of(scores).is_part
    titles = (
        f"{METRICS[name].title} {INTERVAL}" if _has_interval(name) else METRICS[name].title
        for name in metrics
    )
    header = ["Task", "n", *["N"] * in_part, *titles, *OUTCOME_COLUMNS.values()]
    body = []
    for key, score in [*scores.tasks.items(), ("macro", scores.macro)]:
        figures = [_cell(score, name) for name in metrics]
        counts = [str(score.outcomes[outcome] or "") for outcome in OUTCOME_COLUMNS]
        label = columns.get(key, f"macro ({scores.macro.tasks})")
        numbers = [str(score.n), *[str(score.available)] * in_part]
        body.append([label, *numbers, *figures, *counts])
    return header, body


INTERVAL = "[95 %]"
"""Behind the title of figures that have their interval behind them."""


def _cell(figures: Figures, name: str) -> str:
    """The figure by one metric, and its interval where that is shown."""
    interval = figures.interval(name) if _has_interval(name) else None
    return with_ends(figures.figure(name), interval, decimals_of(name))


def _has_interval(name: str) -> bool:
    return name == HIT or METRICS[name].partial
