"""Accuracy by level of a difficulty split."""

from __future__ import annotations

from migbench.errors import UsageError
from migbench.reporting.plots.bars import Bar, Series, draw_bars
from migbench.reporting.plots.style import COLUMN, Drawing, add_legend, new_figure
from migbench.reporting.plots.subjects import Plot
from migbench.reporting.tables.layouts import at_half
from migbench.scoring import Level
from migbench.scoring.summary import DifficultyScores


def draw(plot: Plot) -> Drawing:
    """Easy, medium and hard, with the split's numbers of instances.

    Table 7's figures are never shown beside them: they are on the authors' own split. Raises
    `UsageError` without a split, or where no run has an accuracy.
    """
    found = [(run, run.scores.difficulty) for run in plot.runs if run.scores.difficulty]
    if not found:
        raise UsageError(
            "--kind difficulty: by which split? Pass --difficulty SPLIT; "
            "`migbench difficulty make` makes one from four runs"
        )
    series = [Series(run.label, run.colour, _bars(levels)) for run, levels in found]
    if not any(one.bars for one in series):
        plot.refuse_incomplete()
    split = found[0][1]
    figure = new_figure(plot.width or COLUMN, 2.0)
    axes = figure.subplots()
    groups = {level: f"{level.capitalize()}\n({split.counts[level]})" for level in Level}
    handles = draw_bars(axes, {str(key): name for key, name in groups.items()}, series)
    add_legend(figure, handles)
    return Drawing(
        figure,
        [
            f"Levels: split {split.split} by the rule {split.rule}, not the authors' own; in "
            "parentheses its numbers of instances."
        ],
    )


def _bars(scores: DifficultyScores) -> dict[str, Bar]:
    return {
        level: Bar(figures.at_50, at_half(figures))
        for level, figures in scores.levels.items()
        if figures.at_50 is not None
    }
