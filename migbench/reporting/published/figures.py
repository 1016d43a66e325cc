"""What a printed figure can stand for: whole numbers of hits, and means of rounded cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from migbench.reporting.published import PublishedRow, PublishedTable
from migbench.tasks import TaskSpec, load_tasks

AVERAGE = "average"
"""The key of the column AVE."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed figure, and the distance of neighbouring ones."""

    value: Fraction
    unit: Fraction

    def rounds(self, low: Fraction, high: Fraction | None = None) -> bool:
        """Whether a value between ``low`` and ``high`` can have been rounded to this."""
        half = self.unit / 2
        return low <= self.value + half and self.value - half <= (low if high is None else high)

    def cuts(self, low: Fraction, high: Fraction | None = None) -> bool:
        """Whether a value between ``low`` and ``high`` can have been cut off to this."""
        return low < self.value + self.unit and self.value <= (low if high is None else high)

    def show(self, value: Fraction) -> str:
        """Another value with as many decimals."""
        return f"{float(value):.{round(-math.log10(self.unit))}f}"

    def __str__(self) -> str:
        """As printed."""
        return self.show(self.value)


@dataclass(frozen=True, slots=True)
class Mean:
    """A printed figure, the mean that it should be, and the ends of what the mean may have been."""

    figure: Printed
    mean: Fraction
    low: Fraction
    high: Fraction

    @property
    def can_be(self) -> bool:
        """Whether the mean of cells that were rounded afterwards can be the printed one."""
        return self.figure.rounds(self.low, self.high)


def printed_figure(table: PublishedTable, row: PublishedRow, column: str) -> Printed | None:
    """A cell, or the average; None for a dash."""
    figure = row.average if column == AVERAGE else row.figures[column]
    if figure is None:
        return None
    decimals = table.decimals_of(row, column)
    return Printed(Fraction(f"{figure:.{decimals}f}"), Fraction(1, 10**decimals))


def targets(table: PublishedTable, row: PublishedRow, column: str) -> tuple[int, ...]:
    """How many targets a cell is an accuracy over: every number that may be; none if not known.

    A sample of 20 % was rounded down or up.
    """
    number = table.counts.get(column)
    if table.divided_by == "task" and table.annotations:
        number = task_specs()[column].instances.get(table.annotations)
    if number is None:
        return ()
    if column not in row.sampled:
        return (number,)
    return tuple(dict.fromkeys((number // 5, -(-number // 5))))


def true_range(table: PublishedTable, row: PublishedRow, column: str) -> tuple[Fraction, Fraction]:
    """The least and the largest value that a cell can stand for: shares of hits, if any fit."""
    figure = printed_figure(table, row, column)
    assert figure is not None
    shares = [
        share
        for number in targets(table, row, column)
        for share in nearest_shares(figure, number)
        if figure.rounds(share) or figure.cuts(share)
    ]
    if shares:
        return min(shares), max(shares)
    return figure.value - figure.unit / 2, figure.value + figure.unit / 2


def nearest_shares(figure: Printed, number: int) -> tuple[Fraction, Fraction]:
    """The shares of ``number`` targets, in percent, at and around a figure."""
    hits = math.floor(figure.value * number / 100)
    return Fraction(100 * hits, number), Fraction(100 * min(hits + 1, number), number)


def mean_of(
    figure: Printed,
    table: PublishedTable,
    row: PublishedRow,
    weights: Mapping[str, int],
) -> Mean:
    """A figure beside the weighted mean of these columns of a row; dashes are left out."""
    known = [
        (weight, cell.value, *true_range(table, row, column))
        for column, weight in weights.items()
        if (cell := printed_figure(table, row, column))
    ]
    total = sum(weight for weight, *_ in known)
    means = [sum(cell[0] * cell[part] for cell in known) / Fraction(total) for part in (1, 2, 3)]
    return Mean(figure, *means)


@cache
def task_specs() -> Mapping[str, TaskSpec]:
    """The tasks by key."""
    return {spec.key: spec for spec in load_tasks()}
