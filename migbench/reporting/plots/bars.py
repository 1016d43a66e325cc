"""Groups of bars with intervals: one group a task or level, one bar in it a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from migbench.reporting.plots.style import percent_axis
from migbench.scoring import Interval

FILLED = 0.8
"""Of the distance of two groups."""


NAME = 0.55
"""Inches that a group needs for its name to stand level."""


@dataclass(frozen=True)
class Bar:
    """An accuracy in percent, and its interval where it has one."""

    figure: float
    interval: Interval | None


@dataclass(frozen=True)
class Series:
    """The bars of one run, by group; a group that it lacks has no bar."""

    label: str
    colour: str
    bars: Mapping[str, Bar]


def draw_bars(
    axes: Axes, groups: Mapping[str, str], series: Sequence[Series]
) -> list[BarContainer]:
    """Draw the series side by side; ``groups`` are the groups' names by key."""
    drawn = []
    for slot, one in enumerate(series):
        shown = [(place, one.bars[key]) for place, key in enumerate(groups) if key in one.bars]
        centres = [centre(place, slot, len(series)) for place, _ in shown]
        heights = [bar.figure for _, bar in shown]
        width = 0.92 * FILLED / len(series)
        drawn.append(axes.bar(centres, heights, width, color=one.colour, label=one.label))
        _draw_intervals(axes, centres, [bar for _, bar in shown])
    figure = axes.get_figure(root=True)
    assert figure is not None
    narrow = figure.get_figwidth() < NAME * len(groups)
    turned: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if narrow else {}
    )
    axes.set_xticks(range(len(groups)), groups.values(), **turned)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    percent_axis(axes)
    return drawn


def centre(place: int, slot: int, slots: int) -> float:
    """Where on the horizontal axis the bar at a slot of a group has its middle."""
    return place + FILLED * ((slot + 0.5) / slots - 0.5)


def _draw_intervals(axes: Axes, centres: Sequence[float], bars: Sequence[Bar]) -> None:
    known = [
        (x, bar.figure, bar.interval) for x, bar in zip(centres, bars, strict=True) if bar.interval
    ]
    if known:
        axes.errorbar(
            [x for x, _, _ in known],
            [figure for _, figure, _ in known],
            [
                [figure - interval.low for _, figure, interval in known],
                [interval.high - figure for _, figure, interval in known],
            ],
            fmt="none",
            ecolor="black",
            elinewidth=0.7,
            capsize=1.4,
            capthick=0.7,
            clip_on=False,
        )
