"""One run's figures on a terminal: accuracies, mean IoU, and what became of the targets."""

from __future__ import annotations

from tabulate import tabulate

from migbench.scoring import Outcome, Scores
from migbench.tables.layouts import at_half
from migbench.tables.rows import margin, shown
from migbench.tasks import load_tasks

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

    Acc@0.5 has half the width of its interval behind it.
    """
    header, body = scores_cells(scores)
    align = ["left", *["right"] * (len(header) - 1)]
    return tabulate(body, header, tablefmt="simple", colalign=align, disable_numparse=True)


def scores_cells(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """The same as header and lines."""
    columns = {spec.key: spec.column for spec in load_tasks()}
    header = ["Task", "n", "Acc@0.3", "Acc@0.5", "±", "Acc@0.7", "mIoU", *OUTCOME_COLUMNS.values()]
    body = []
    for name, score in [*scores.tasks.items(), ("macro", scores.macro)]:
        half = margin(at_half(score)).removeprefix("±")
        figures = [shown(score.at_30), shown(score.at_50), half, shown(score.at_70)]
        mean = "–" if score.mean_iou is None else f"{score.mean_iou:.4f}"
        counts = [str(score.outcomes[outcome] or "") for outcome in OUTCOME_COLUMNS]
        label = columns.get(name, f"macro ({scores.macro.tasks})")
        body.append([label, str(score.n), *figures, mean, *counts])
    return header, body
