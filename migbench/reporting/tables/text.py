"""Tables for a terminal: aligned columns, group names centred above them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migbench.reporting.tables.layouts import Layout
from migbench.reporting.tables.rows import Table
from migbench.util.escaping import visible


def text(table: Table) -> str:
    """For a terminal; the best of comparable figures is marked with ``*``.

    Margins stand in a line of their own, below the figures.
    """
    layout = table.layout
    lines = [[*layout.labels, *(column.title for column in layout.columns)]]
    for section in table.sections:
        lines.append([section.heading])
        for row in section.rows:
            first, *others = row.labels
            lines.append(["  " + first, *others, *table.cells(row, "*{}".format)])
            if row.intervals:
                lines.append([*[""] * len(row.labels), *table.margins(row)])
    lines = [[visible(cell) for cell in line] for line in lines]
    widths = _widths(lines, layout)
    header, *body = (_aligned(line, widths, len(layout.labels)) for line in lines)
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(
        [*_head_lines(widths, layout), header, rule, *body, "", *map(visible, table.notes)]
    )


def _widths(lines: Sequence[Sequence[str]], layout: Layout) -> list[int]:
    """Column widths: room for every cell, and for the name of a group of one column."""
    columns = zip(*(line for line in lines if len(line) > 1), strict=True)
    widths = [max(map(len, column)) for column in columns]
    for line in layout.heads():
        place = len(layout.labels)
        for name, count in line:
            if count == 1:
                widths[place] = max(widths[place], len(name))
            place += count
    return widths


def _aligned(line: Sequence[str], widths: Sequence[int], labels: int) -> str:
    if len(line) == 1:
        return line[0]
    return "  ".join(
        cell.ljust(width) if place < labels else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )


def _head_lines(widths: Sequence[int], layout: Layout) -> Iterator[str]:
    """The group names, each centred over its columns between dashes."""
    for line in layout.heads():
        place = len(layout.labels)
        cells = [" " * width for width in widths[:place]]
        for name, count in line:
            room = sum(widths[place : place + count]) + 2 * (count - 1)
            many = bool(name) and count > 1
            cells.append((f" {name} " if many else name).center(room, "-" if many else " "))
            place += count
        yield "  ".join(cells).rstrip()
