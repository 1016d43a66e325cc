"""The radar over all tasks: one axis a task, one line a run or published row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.projections.polar import PolarAxes

from migbench.errors import UsageError
from migbench.reporting.plots.style import COLUMN, DARK, Drawing, add_legend, new_figure
from migbench.reporting.plots.subjects import Plot, Subject
from migbench.tasks import TaskSpec, load_tasks

FEWEST = 3
"""Axes that enclose an area."""


def draw(plot: Plot) -> Drawing:
    """Acc@0.5 from 0 in the middle to 100, clockwise in the order of Table 1.

    Raises `UsageError` where runs have not the same tasks, fewer than three, or no accuracy yet.
    """
    plot.refuse_incomplete()
    specs = _specs(plot.runs)
    width = plot.width or COLUMN
    figure = new_figure(width, 0.82 * width)
    axes = figure.subplots(subplot_kw={"projection": "polar"})
    assert isinstance(axes, PolarAxes)
    _draw_axes(axes, specs)
    handles = []
    for run in plot.runs:
        values = [run.scores.tasks[spec.key].at_50 or 0.0 for spec in specs]
        label = f"{run.label}: {run.scores.macro.at_50:.1f}"
        handles += _draw_line(axes, values, run.colour, label)
    for printed in plot.published:
        cells = [printed.row.figures[spec.key] for spec in specs]
        average = printed.row.average if len(specs) == len(printed.row.figures) else None
        label = printed.label if average is None else f"{printed.label}: {average:.1f}"
        handles += _draw_line(axes, cells, printed.colour, label, printed=True)
    add_legend(figure, handles)
    note = "Behind every name: the unweighted mean of the tasks."
    return Drawing(figure, [note], intervals=False)


def _specs(runs: Sequence[Subject]) -> list[TaskSpec]:
    first = runs[0]
    for run in runs[1:]:
        if odd := run.scores.tasks.keys() ^ first.scores.tasks.keys():
            raise UsageError(
                f"{first.label} and {run.label} were not asked the same tasks ({', '.join(odd)}); "
                "--kind tasks can show that"
            )
    specs = [spec for spec in load_tasks() if spec.key in first.scores.tasks]
    if len(specs) < FEWEST:
        raise UsageError(
            f"a radar needs at least {FEWEST} tasks, and {first.label} has {len(specs)}; "
            "use --kind tasks"
        )
    return specs


def _draw_axes(axes: PolarAxes, specs: Sequence[TaskSpec]) -> None:
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(20, 101, 20), [])
    for percent in range(20, 100, 20):
        # Before the lines, which may pass here, and half-way between two axes.
        axes.text(
            math.pi / len(specs),
            percent,
            str(percent),
            color=DARK,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
            zorder=3,
        )
    axes.set_xticks(_angles(len(specs)), [spec.column for spec in specs])
    for angle, label in zip(_angles(len(specs)), axes.get_xticklabels(), strict=True):
        # Names stand beside the circle, not across it.
        side = math.sin(angle)
        label.set_horizontalalignment(
            "center" if abs(side) < 0.1 else "left" if side > 0 else "right"
        )
    axes.tick_params(axis="x", pad=0)
    axes.spines["polar"].set_linewidth(0.6)


def _angles(number: int) -> list[float]:
    return [2 * math.pi * place / number for place in range(number)]


def _draw_line(
    axes: PolarAxes,
    values: Sequence[float | None],
    colour: str,
    label: str,
    *,
    printed: bool = False,
) -> list[object]:
    known = [
        (angle, value)
        for angle, value in zip(_angles(len(values)), values, strict=True)
        if value is not None
    ]
    known.append(known[0])
    angles, heights = zip(*known, strict=True)
    if not printed:
        axes.fill(angles, heights, color=colour, alpha=0.08, linewidth=0)
    return [
        *axes.plot(
            angles,
            heights,
            color=colour,
            linestyle="--" if printed else "-",
            marker="" if printed else "o",
            markersize=2.5,
            label=label,
            clip_on=False,
        )
    ]
