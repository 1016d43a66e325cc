"""Tables before they are written: rows of figures under a layout's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from migbench.reporting.published import DECIMALS
from migbench.reporting.tables.layouts import Column, Layout
from migbench.scoring import Interval

FACTS = ("run", "protocol", "evaluator", "strategy", "n", "N")
"""What rows for programs say of themselves: of ``N`` instances of the file, ``n`` were asked."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: accuracies in percent by column, None where there is none.

    It has as many ``labels`` as its layout. Only rows on the same annotations are ranked together,
    and only those that are ``ranked``. ``sampled`` columns were measured on a part of the task.
    ``intervals`` are those of figures, in tables that show them. ``facts`` say what the figures
    stand on, by their names in `FACTS`.
    """

    labels: tuple[str, ...]
    figures: Mapping[str, float | None]
    annotations: str
    ranked: bool = True
    sampled: tuple[str, ...] = ()
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading; all are on the same annotations."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """Sections under a layout's columns, and notes that say what the figures are."""

    layout: Layout
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def best(self, row: Row, column: Column) -> bool:
        """Whether a row has the best figure, above zero, of those that it may be compared with."""
        if not (row.ranked and column.ranked):
            return False
        rivals = [
            figure
            for section in self.sections
            for rival in section.rows
            if rival.ranked and rival.annotations == row.annotations
            if (figure := rival.figures.get(column.key)) is not None
        ]
        return len(rivals) > 1 and 0 < max(rivals) == row.figures.get(column.key)

    def cells(self, row: Row, mark: Callable[[str], str]) -> Iterator[str]:
        """A row's figures as printed; the best of comparable ones are marked."""
        for column in self.layout.columns:
            figure = row.figures.get(column.key)
            cell = shown(figure, column.decimals)
            if self.best(row, column):
                cell = mark(cell)
            yield cell + ("†" if column.key in row.sampled else "")

    def ends(self, row: Row) -> list[str]:
        """Both ends of each figure's interval, empty where there is none."""
        return [ends(row.intervals.get(column.key)) for column in self.layout.columns]

    def cells_with_ends(self, row: Row, mark: Callable[[str], str]) -> list[str]:
        """A row's figures, each with both ends of its interval behind it."""
        return [
            f"{cell} {interval}" if interval else cell
            for cell, interval in zip(self.cells(row, mark), self.ends(row), strict=True)
        ]

    @property
    def has_intervals(self) -> bool:
        """Whether any row has them."""
        return any(row.intervals for section in self.sections for row in section.rows)


def ends(interval: Interval | None, *, signed: bool = False) -> str:
    """An interval as tables print it, ``[66.10, 100.00]``, or nothing; ``signed`` differences."""
    if interval is None:
        return ""
    form = "+.2f" if signed else ".2f"
    return f"[{interval.low:{form}}, {interval.high:{form}}]"


def with_ends(figure: float | None, interval: Interval | None, decimals: int = DECIMALS) -> str:
    """A figure and its interval in one cell: ``100.00 [66.10, 100.00]``."""
    return " ".join(filter(None, (shown(figure, decimals), ends(interval))))


def shown(figure: float | None, decimals: int = DECIMALS) -> str:
    """A figure as tables print it, or a dash where there is none."""
    return "–" if figure is None else f"{figure:.{decimals}f}"
