"""Comparisons on a terminal: what a run wins and loses against another, and what each has cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from migbench.reporting.tables.rows import ends, shown
from migbench.scoring import Comparison, Paired, Scores
from migbench.scoring.usage import Usage
from migbench.tasks import find_task
from migbench.util.plain_table import plain_table

COMPARISON_HEADER = (
    *("Difference [95 %]", "p", "Holm", "MDE"),
    *("Wins", "Losses", "Both", "Neither"),
)
COSTS_HEADER = (
    *("Run", "Acc@0.5", "Requests", "Images shown", "Tokens in", "Cached", "Tokens out"),
    *("Wall time", "Evaluator", "Strategy", "Prompts"),
)


def comparison_table(comparison: Comparison, width: int | None = None) -> str:
    """One line a task: both runs' accuracies, their difference, and targets by who hits them.

    Beside the difference: its interval, its p, the p corrected for the number of tasks, and the
    minimum detectable effect (with 80 % power). Columns are folded into ``width`` characters.
    """
    header, body = comparison_cells(comparison)
    align = ["left", *["right"] * (len(header) - 1)]
    return plain_table(body, header, align=align, width=width)


def comparison_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The same as header and lines."""
    rows = {find_task(key).column: paired for key, paired in comparison.tasks.items()}
    rows[f"macro ({comparison.macro.tasks})"] = comparison.macro
    return group_cells("Task", comparison.first, comparison.second, rows)


def group_cells(
    group: str, first: str, second: str, rows: Mapping[str, Paired]
) -> tuple[list[str], list[list[str]]]:
    """Header and lines by other groups of targets; ``group`` says what the groups are."""
    unanswered = any(paired.unanswered for paired in rows.values())
    header = [group, "n", first, second, *COMPARISON_HEADER, *["No answer"] * unanswered]
    body = []
    for label, paired in rows.items():
        counts = [paired.wins, paired.losses, paired.both, paired.neither]
        counts += [paired.unanswered] * unanswered
        body.append(
            [
                *(label, str(paired.n), shown(paired.first), shown(paired.second)),
                _difference(paired),
                *(_p_value(paired.p), _p_value(paired.p_holm), shown(paired.mde)),
                *map(str, counts),
            ]
        )
    return header, body


def costs_table(runs: Iterable[tuple[str, Scores, Usage]], width: int | None = None) -> str:
    """One line a run: how it asked, its macro accuracy, and what that has cost."""
    align = ["left", *["right"] * 7, *["left"] * 3]
    return plain_table(costs_cells(runs), COSTS_HEADER, align=align, width=width)


def costs_cells(runs: Iterable[tuple[str, Scores, Usage]]) -> list[list[str]]:
    """The same without the header."""
    return [
        [
            *(label, shown(scores.macro.at_50)),
            *(f"{paid.requests:,}", f"{paid.images_shown:,}"),
            *map(_thousands, (paid.prompt_tokens, paid.cached_tokens, paid.completion_tokens)),
            *(_duration(paid.wall_seconds), scores.evaluator, scores.strategy, scores.prompts),
        ]
        for label, scores, paid in runs
    ]


def _difference(paired: Paired) -> str:
    if paired.difference is None:
        return "–"
    return " ".join(filter(None, (f"{paired.difference:+.2f}", ends(paired.interval, signed=True))))


def _p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _thousands(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
