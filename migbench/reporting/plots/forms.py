"""Forms of asking: both accuracies of every task, and their paired difference with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from migbench.reporting.palette import MODELS
from migbench.reporting.plots.pairing import Contrast, Pair, contrasts_of
from migbench.reporting.plots.style import DARK, PAGE, Drawing, add_legend, new_figure
from migbench.reporting.plots.subjects import Plot, Subject
from migbench.scoring import Comparison, RunToCompare, compare, coverage_of
from migbench.scoring.comparison import Paired
from migbench.tasks import load_tasks

ROW = 0.17
"""Inches for a task."""
AROUND = 0.62
"""Inches around the rows of a contrast."""
MEAN = "Mean"


def draw(plot: Plot) -> Drawing:
    """One line of two panels for every contrast that the runs' manifests allow.

    Left both accuracies, hollow for the form that is compared with; right the difference on the
    targets that both runs were asked for. Raises `UsageError` where no runs can be paired, or one
    of them is incomplete.
    """
    contrasts = contrasts_of(plot.runs)
    plot.refuse_incomplete()
    compared = {
        contrast: [(pair, _compare(plot, contrast, pair)) for pair in pairs]
        for contrast, pairs in contrasts.items()
    }
    names = {contrast: _names(found) for contrast, found in compared.items()}
    models = max(len(found) for found in compared.values())
    rows = [len(each) * (1 + 0.5 * (models - 1)) for each in names.values()]
    height = sum(ROW * each + AROUND for each in rows)
    figure = new_figure(plot.width or PAGE, height)
    grid = figure.subplots(len(compared), 2, squeeze=False, height_ratios=rows, width_ratios=(3, 2))
    for (left, right), (contrast, found) in zip(grid, compared.items(), strict=True):
        _draw_contrast(left, right, contrast, found, names[contrast])
    reach = max(abs(end) for _, right in grid for end in right.get_xlim())
    for _, right in grid:
        right.set_xlim(-reach, reach)
    add_legend(figure, _handles(plot, [pair for pairs in contrasts.values() for pair in pairs]))
    return Drawing(figure, list(_notes(compared)))


def _compare(plot: Plot, contrast: Contrast, pair: Pair) -> Comparison:
    def side(run: Subject) -> RunToCompare:
        samples = [each for each in run.scored.samples if each.instance.task in contrast.tasks]
        return RunToCompare(run.label, run.scores, samples, run.scored.annotations.cluster_of)

    return compare(side(pair.first), side(pair.second), bootstrap=plot.bootstrap, seed=plot.seed)


def _names(found: Sequence[tuple[Pair, Comparison]]) -> dict[str, str]:
    """The rows by key: tasks that some pair has in common, and their mean if they are several."""
    tasks = {task for _, comparison in found for task in comparison.tasks}
    names = {spec.key: spec.column for spec in load_tasks() if spec.key in tasks}
    return {**names, MEAN: MEAN} if len(names) > 1 else names


def _draw_contrast(
    left: Axes,
    right: Axes,
    contrast: Contrast,
    found: Sequence[tuple[Pair, Comparison]],
    names: Mapping[str, str],
) -> None:
    for number, (pair, comparison) in enumerate(found):
        shift = 0.6 * ((number + 0.5) / len(found) - 0.5)
        colour = MODELS[pair.model]
        rows = {**comparison.tasks, MEAN: comparison.macro}
        for place, key in enumerate(names):
            if key in rows:
                _draw_row(left, right, place + shift, rows[key], colour)
    for axes in (left, right):
        axes.set_yticks(range(len(names)), names.values())
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        if MEAN in names:
            axes.axhline(len(names) - 1.5, color=DARK, linewidth=0.6)
    right.tick_params(axis="y", labelleft=False)
    right.axvline(0, color=DARK, linewidth=0.8)
    left.set_xlim(0, 100)
    left.set_title(
        f"{contrast.other} (filled) against {contrast.base} (hollow){contrast.suffix}", loc="left"
    )
    left.set_xlabel("Acc@0.5, %")
    right.set_xlabel("Difference, points")


def _draw_row(left: Axes, right: Axes, height: float, paired: Paired, colour: str) -> None:
    assert paired.first is not None
    assert paired.second is not None
    left.plot([paired.first, paired.second], [height] * 2, color=colour, linewidth=0.9)
    for value, fill in ((paired.first, "white"), (paired.second, colour)):
        left.plot(
            value,
            height,
            marker="o",
            color=colour,
            markerfacecolor=fill,
            markeredgewidth=0.9,
            clip_on=False,
            zorder=3,
        )
    difference = paired.second - paired.first
    interval = paired.interval
    right.errorbar(
        difference,
        height,
        xerr=[[difference - interval.low], [interval.high - difference]] if interval else None,
        color=colour,
        marker="o",
        elinewidth=0.9,
        capsize=1.6,
        capthick=0.9,
    )


def _handles(plot: Plot, pairs: Sequence[Pair]) -> list[Line2D]:
    # Of two runs, the one that was asked less decides on what both are compared by.
    models: dict[int, str] = {}
    for pair in pairs:
        runs = [pair.first.scores, pair.second.scores]
        fewest = min(map(coverage_of, runs), key=lambda each: each.asked)
        models[pair.model] = (runs[0].name or runs[0].model) + fewest.mark
    return [
        Line2D([], [], color=MODELS[number], marker="o", label=name)
        for number, name in sorted(models.items())
    ]


def _notes(compared: Mapping[Contrast, Sequence[tuple[Pair, Comparison]]]) -> list[str]:
    notes = ["Differences are paired, target by target. Mean: unweighted, over the tasks."]
    for contrast, found in compared.items():
        for pair, comparison in found:
            if pair.also_differ:
                notes.append(
                    f"{contrast.title}: {pair.first.label} and {pair.second.label} differ in more "
                    f"than the form: {'; '.join(pair.also_differ)}."
                )
            if comparison.only_first or comparison.only_second:
                notes.append(
                    f"{contrast.title}: left out are {comparison.only_first} targets that only "
                    f"{pair.first.label} was asked for, {comparison.only_second} that only "
                    f"{pair.second.label} was."
                )
    return notes
