"""The distribution of IoUs: the share of targets that reach an IoU, for every IoU."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np

from migbench.reporting.plots.style import (
    COLUMN,
    DARK,
    Drawing,
    add_legend,
    new_figure,
    percent_axis,
)
from migbench.reporting.plots.subjects import Plot
from migbench.scoring import SampleScore, Scores
from migbench.scoring.metrics import METRICS, THRESHOLDS
from migbench.scoring.uncertainty import Floats

STEPS = [place / 200 for place in range(201)]
"""The IoUs at which shares are counted; the thresholds are among them."""


def shares(samples: Iterable[SampleScore]) -> Floats:
    """The share of targets, in percent, whose IoU is at least each of `STEPS`.

    The unweighted mean over tasks: at a threshold it is the macro average of the accuracies.
    """
    counts: dict[str, Floats] = {}
    for sample in samples:
        task = counts.setdefault(sample.instance.task, np.zeros(len(STEPS)))
        task[bisect_right(STEPS, sample.iou) - 1] += 1
    reached = [task[::-1].cumsum()[::-1] / task.sum() for task in counts.values()]
    mean: Floats = 100 * np.mean(reached, axis=0)
    return mean


def draw(plot: Plot) -> Drawing:
    """One curve a run, with intervals at the three thresholds.

    Raises `UsageError` where a run is incomplete.
    """
    plot.refuse_incomplete()
    figure = new_figure(plot.width or COLUMN, 2.1)
    axes = figure.subplots()
    for threshold in THRESHOLDS:
        axes.axvline(threshold, color=DARK, linewidth=0.6, linestyle=(0, (1, 2)))
    handles: list[object] = []
    for run in plot.runs:
        handles += axes.plot(STEPS, shares(run.scored.samples), color=run.colour, label=run.label)
        for threshold, accuracy, low, high in _accuracies(run.scores):
            axes.errorbar(
                threshold,
                accuracy,
                [[accuracy - low], [high - accuracy]],
                color=run.colour,
                marker="o",
                markersize=2.5,
                elinewidth=0.9,
                capsize=1.6,
                capthick=0.9,
            )
    axes.set_xlim(0, 1)
    axes.set_xticks([0, *THRESHOLDS, 1], ["0", *map(str, THRESHOLDS), "1"])
    axes.set_xlabel("IoU")
    percent_axis(axes, "Targets that reach it, %")
    add_legend(figure, handles)
    return Drawing(figure, ["Shares are unweighted means over the tasks."])


def _accuracies(scores: Scores) -> Iterable[tuple[float, float, float, float]]:
    """For each threshold: the accuracy, and its interval where it has one."""
    for name, metric in METRICS.items():
        figure, interval = scores.macro.figure(name), scores.macro.interval(name)
        if metric.threshold is not None and figure is not None:
            ends = (interval.low, interval.high) if interval else (figure, figure)
            yield metric.threshold, figure, *ends
