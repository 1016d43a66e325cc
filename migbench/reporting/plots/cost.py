"""Accuracy against what it has cost: tokens and seconds a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from migbench.errors import UsageError
from migbench.reporting.plots.style import COLUMN, PAGE, Drawing, add_legend, new_figure
from migbench.reporting.plots.subjects import Plot, Subject
from migbench.reporting.tables.layouts import at_half
from migbench.scoring.usage import Usage, measured_usage

FAR = 8
"""Costs that differ by this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Measure:
    """One way to count costs."""

    name: str
    label: str
    of: Callable[[Usage], float | None]


def _tokens(usage: Usage) -> float | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return usage.prompt_tokens + usage.completion_tokens


MEASURES = (
    Measure("tokens", "Tokens a target", _tokens),
    Measure("wall time", "Seconds a target", lambda usage: usage.wall_seconds),
)


def draw(plot: Plot) -> Drawing:
    """The mean accuracy with its interval over the costs; a panel for every measure that is known.

    Raises `UsageError` where nothing is known of any run's cost, or a run is incomplete.
    """
    plot.refuse_incomplete()
    usage = {run.label: measured_usage(run.scored) for run in plot.runs}
    panels = {measure: _points(plot.runs, usage, measure) for measure in MEASURES}
    panels = {measure: points for measure, points in panels.items() if points}
    if not panels:
        raise UsageError(
            "--kind cost: none of the runs knows its tokens or its wall time (imported answers do "
            "not, nor a run that was killed); choose runs made by `migbench run`"
        )
    width = plot.width or (COLUMN if len(panels) == 1 else PAGE)
    figure = new_figure(width, 2.0)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    handles: dict[str, object] = {}
    for axes, (measure, points) in zip(grid[0], panels.items(), strict=True):
        handles |= _draw_panel(axes, measure, points)
    grid[0][0].set_ylabel("Mean Acc@0.5, %")
    ordered = [handles[run.label] for run in plot.runs if run.label in handles]
    add_legend(figure, ordered)
    return Drawing(figure, _notes(plot, panels))


Points = Sequence[tuple[Subject, float]]
"""Runs, and what a target of each has cost."""


def _points(runs: Sequence[Subject], usage: dict[str, Usage], measure: Measure) -> Points:
    return [
        (run, cost / run.scores.macro.n)
        for run in runs
        if (cost := measure.of(usage[run.label])) is not None
    ]


def _draw_panel(axes: Axes, measure: Measure, points: Points) -> dict[str, object]:
    handles: dict[str, object] = {}
    for run, cost in points:
        accuracy, interval = run.scores.macro.at_50, at_half(run.scores.macro)
        assert accuracy is not None
        handles[run.label] = axes.errorbar(
            cost,
            accuracy,
            [[accuracy - interval.low], [interval.high - accuracy]] if interval else None,
            color=run.colour,
            marker="o",
            elinewidth=0.9,
            capsize=1.6,
            capthick=0.9,
            linestyle="none",
            label=run.label,
            clip_on=False,
        )
    costs = [cost for _, cost in points]
    if 0 < FAR * min(costs) < max(costs):
        axes.set_xscale("log")
        axes.margins(x=0.15)
        # The scale's own labels are formulas, which names make impossible here.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(costs) * 1.15 or 1)
    axes.set_ylim(0, 100)
    axes.set_xlabel(measure.label)
    axes.grid()
    return handles


def _notes(plot: Plot, panels: dict[Measure, Points]) -> list[str]:
    notes = [
        "Accuracies are unweighted means over the tasks. Tokens are those of prompts and answers, "
        "cached ones included, as the adapters count them."
    ]
    for measure in MEASURES:
        known = {run.label for run, _ in panels.get(measure, ())}
        if unknown := [run.label for run in plot.runs if run.label not in known]:
            notes.append(f"Not known, and so not shown: {measure.name} of {', '.join(unknown)}.")
    timed = panels.get(MEASURES[1], ())
    machines = {run.label: run.scored.run.manifest.environment.machine for run, _ in timed}
    if machines:
        on = "; ".join(f"{label} on {machine}" for label, machine in machines.items())
        notes.append(f"Wall time is the asking's, without loading the model: {on}.")
    return notes
