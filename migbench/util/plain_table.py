"""Plain tables for a terminal: aligned columns under a header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import MIN_PADDING, tabulate

from migbench.util.escaping import visible
from migbench.util.folding import GAP, INDENT, fold, paragraph


def plain_table(
    body: Iterable[Sequence[object]],
    header: Iterable[str],
    *,
    align: Sequence[str] = (),
    numbers: bool = False,
    width: int | None = None,
) -> str:
    """Lines of cells, each on one line whatever stands in it.

    ``align`` says ``left`` or ``right`` for every column. With ``numbers``, columns of nothing but
    numbers are aligned by their points. Where the table is wider than ``width`` characters, its
    columns stand in several blocks, each with the first column before it; texts of a column that
    is too wide even so stand one below the other, each behind what names its line.
    """
    rows = [[visible(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
    titles = [visible(title) for title in header]
    widths = [
        max(len(title) + MIN_PADDING, *(len(str(cell)) for cell in column))
        for title, *column in zip(titles, *rows, strict=True)
    ]
    return "\n\n".join(
        _prose(titles[place], rows, place, width)
        if width is not None and len(block) == 2 and widths[0] + GAP + widths[place] > width
        else tabulate(
            [[row[each] for each in block] for row in rows],
            [titles[each] for each in block],
            tablefmt="simple",
            colalign=[align[each] for each in block] if align else None,
            disable_numparse=not numbers,
            preserve_whitespace=True,
        )
        for block in fold(widths, width)
        for place in [block[-1]]
    )


def _prose(title: str, rows: Sequence[Sequence[object]], place: int, width: int) -> str:
    lines = (paragraph(f"  {row[0]}: {row[place]}", width, INDENT) for row in rows)
    return "\n".join([title, *lines])
