"""Tables for a terminal: aligned columns, group names centred above them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from migbench.reporting.tables.rows import Table
from migbench.util.escaping import visible
from migbench.util.folding import INDENT, paragraph

Line = list[str]
"""A line's cells; a line of one cell is a heading, which may be longer than any column."""


def text(table: Table, width: int | None = None) -> str:
    """For a terminal; the best of comparable figures is marked with ``*``.

    Where the table is wider than ``width`` characters, its columns are folded: they stand in
    several blocks, one below the other, each with all rows; and labels that leave no room for
    figures stand above these. Without a ``width`` a table is as wide as it is.
    """
    layout = table.layout
    above = width is not None and _is_too_wide(_Block(table, width), width)
    blocks: list[_Block] = []
    start, end = 0, len(layout.columns)
    while start < end:
        for stop in range(end, start, -1):
            block = _Block(_with_columns(table, start, stop), width, labels_above=above)
            if width is None or stop == start + 1 or block.width <= width:
                break
        blocks.append(block)
        start = stop
    notes = [visible(note) for note in table.notes]
    if width is not None:
        notes = [paragraph(note, width) for note in notes]
    return "\n".join(["\n\n".join(map(str, blocks)), "", *notes])


def _with_columns(table: Table, start: int, stop: int) -> Table:
    layout = replace(table.layout, columns=table.layout.columns[start:stop])
    return replace(table, layout=layout)


def _is_too_wide(block: _Block, width: int) -> bool:
    """Whether the labels leave no room for the widest column."""
    return sum(each + 2 for each in block.widths[: block.labels]) + max(block.widths) > width


class _Block:
    """Some columns of a table, with the labels of all its rows before or above them."""

    def __init__(self, table: Table, width: int | None, *, labels_above: bool = False) -> None:
        """Lay it out; lines of prose are broken at ``width``."""
        self._broken_at = width
        layout = table.layout
        self._heads = layout.heads()
        self.labels = 1 if labels_above else len(layout.labels)
        titles = [""] if labels_above else [*layout.labels]
        self._lines: list[Line] = [[*titles, *(column.title for column in layout.columns)]]
        for section in table.sections:
            self._lines.append([section.heading])
            for row in section.rows:
                cells = table.cells_with_ends(row, "*{}".format)
                if labels_above:
                    self._lines += [[f"  {', '.join(row.labels)}"], [INDENT, *cells]]
                else:
                    first, *others = row.labels
                    self._lines.append([f"  {first}", *others, *cells])
        self._lines = [[visible(cell) for cell in line] for line in self._lines]
        columns = zip(*(line for line in self._lines if len(line) > 1), strict=True)
        self.widths = [max(map(len, column)) for column in columns]
        self._make_room_for_heads()

    @property
    def width(self) -> int:
        """In characters, headings apart."""
        return sum(self.widths) + 2 * (len(self.widths) - 1)

    def _make_room_for_heads(self) -> None:
        """Widen the last column of every group whose name is longer than its columns together."""
        for line in self._heads:
            place = self.labels
            for name, count in line:
                room = sum(self.widths[place : place + count]) + 2 * (count - 1)
                around = 2 if name and count > 1 else 0
                self.widths[place + count - 1] += max(0, len(name) + around - room)
                place += count

    def __str__(self) -> str:
        header, *body = map(self._aligned, self._lines)
        rule = "  ".join("-" * width for width in self.widths)
        return "\n".join([*self._head_lines(), header, rule, *body])

    def _aligned(self, line: Sequence[str]) -> str:
        if len(line) == 1:
            return paragraph(line[0], self._broken_at, INDENT)
        return "  ".join(
            cell.ljust(width) if place < self.labels else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, self.widths, strict=True))
        )

    def _head_lines(self) -> Iterator[str]:
        """The group names, each centred over its columns between dashes."""
        for line in self._heads:
            place = self.labels
            cells = [" " * width for width in self.widths[:place]]
            for name, count in line:
                room = sum(self.widths[place : place + count]) + 2 * (count - 1)
                many = bool(name) and count > 1
                cells.append((f" {name} " if many else name).center(room, "-" if many else " "))
                place += count
            yield "  ".join(cells).rstrip()
