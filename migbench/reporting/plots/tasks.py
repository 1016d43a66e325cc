"""Accuracy by task: a bar with its interval for every run, and published figures beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from migbench.errors import UsageError
from migbench.reporting.plots.bars import FILLED, Bar, Series, centre, draw_bars
from migbench.reporting.plots.style import DARK, PAGE, Drawing, add_legend, new_figure
from migbench.reporting.plots.subjects import Plot, Printed
from migbench.reporting.published.figures import AVERAGE
from migbench.reporting.tables.layouts import at_half
from migbench.scoring import Scores
from migbench.tasks import load_tasks


def draw(plot: Plot) -> Drawing:
    """One group a task, in the order of Table 1; behind them the mean, where runs share all tasks.

    Raises `UsageError` where no run has an accuracy.
    """
    asked = [set(run.scores.tasks) for run in plot.runs]
    groups = {
        spec.key: spec.column for spec in load_tasks() if any(spec.key in one for one in asked)
    }
    averaged = len(groups) > 1 and all(one == groups.keys() for one in asked)
    if averaged:
        groups[AVERAGE] = "Mean"
    series = [Series(run.label, run.colour, _bars(run.scores, averaged)) for run in plot.runs]
    if not any(one.bars for one in series):
        raise UsageError(
            "no task has all its answers yet; go on with the run, or count what is missing as "
            "misses with --accept-model-errors"
        )
    figure = new_figure(plot.width or PAGE, 2.0)
    axes = figure.subplots()
    handles: list[Any] = [*draw_bars(axes, groups, series)]
    slots = {run.label: slot for slot, run in enumerate(plot.runs)}
    own: Any = None
    for printed in plot.published:
        known = {
            place: value
            for place, key in enumerate(groups)
            if (value := _printed(printed, key, len(groups))) is not None
        }
        if printed.of is None:
            handles.append(_draw_across(axes, known, printed))
        else:
            slot = slots[printed.of.label]
            own = _draw_diamonds(axes, known, slot, len(series))
    if own:
        handles.append(own)
    if averaged:
        axes.axvline(len(groups) - 1.5, color=DARK, linewidth=0.6)
    add_legend(figure, handles)
    return Drawing(figure, ["Mean: unweighted, over the tasks."] if averaged else [])


def _draw_diamonds(axes: Axes, figures: Mapping[int, float], slot: int, slots: int) -> Line2D:
    """Published figures on the bars of the run that they are of."""
    (drawn,) = axes.plot(
        [centre(place, slot, slots) for place in figures],
        [*figures.values()],
        linestyle="none",
        marker="D",
        markersize=3.4,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=0.7,
        label="published, of the same model",
        clip_on=False,
        zorder=3,
    )
    return drawn


def _draw_across(axes: Axes, figures: Mapping[int, float], printed: Printed) -> LineCollection:
    """Published figures of no run that is shown, across all of a group's bars."""
    return axes.hlines(
        [*figures.values()],
        [place - FILLED / 2 for place in figures],
        [place + FILLED / 2 for place in figures],
        color=printed.colour,
        label=printed.label,
        linewidth=1.6,
        clip_on=False,
        zorder=2.5,
    )


def _bars(scores: Scores, averaged: bool) -> dict[str, Bar]:
    figures = {**scores.tasks, **({AVERAGE: scores.macro} if averaged else {})}
    return {
        key: Bar(one.at_50, at_half(one)) for key, one in figures.items() if one.at_50 is not None
    }


def _printed(printed: Printed, key: str, groups: int) -> float | None:
    """A published figure; its average only beside the mean of all tasks."""
    if key != AVERAGE:
        return printed.row.figures[key]
    return printed.row.average if groups == len(printed.row.figures) + 1 else None
