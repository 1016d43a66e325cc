"""Tables for pages and programs: Markdown, CSV."""

from __future__ import annotations

import csv
import io

from tabulate import tabulate

from migbench.reporting.tables.layouts import Column
from migbench.reporting.tables.rows import FACTS, Table
from migbench.util import escaping


def markdown(table: Table) -> str:
    """A pipe table; the best of comparable figures is bold. Names are shown as they are."""
    layout = table.layout
    header = [*layout.labels, *(column.title for column in layout.columns)]
    body: list[list[str]] = []
    for section in table.sections:
        body.append([f"*{escaping.markdown(section.heading)}*", *[""] * (len(header) - 1)])
        body += [
            [*map(escaping.markdown, row.labels), *table.cells_with_ends(row, "**{}**".format)]
            for row in section.rows
        ]
    align = ["left"] * len(layout.labels) + ["right"] * len(layout.columns)
    lines = tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True)
    return "\n\n".join([lines, *map(escaping.markdown, table.notes)])


def comma_separated(table: Table) -> str:
    """CSV with a header, for programs.

    Figures are unmarked, with two decimals more than they are printed with elsewhere; intervals
    have columns of their own, and so has what a row stands on. What is not known is left empty.
    """
    columns = table.layout.columns
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ends = [f"{column.key} {end}" for column in columns for end in ("low", "high")]
    labels = (label.lower() for label in table.layout.labels)
    writer.writerow(
        [
            *("section", *labels, "annotations", *FACTS),
            *(column.key for column in columns),
            *ends * table.has_intervals,
        ]
    )
    for section in table.sections:
        for row in section.rows:
            figures = [_number(row.figures.get(column.key), column) for column in columns]
            if table.has_intervals:
                for column in columns:
                    each = row.intervals.get(column.key)
                    limits = (each.low, each.high) if each else (None, None)
                    figures += [_number(limit, column) for limit in limits]
            facts = (row.facts.get(name, "") for name in FACTS)
            names = (section.heading, *row.labels, row.annotations, *facts)
            writer.writerow([*map(escaping.csv, names), *figures])
    return buffer.getvalue().rstrip("\n")


def _number(figure: float | None, column: Column) -> str:
    return "" if figure is None else repr(round(float(figure), column.decimals + 2))
