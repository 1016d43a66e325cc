"""Plain tables for a terminal: aligned columns under a header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from migbench.util.escaping import visible


def plain_table(
    body: Iterable[Sequence[object]],
    header: Iterable[str],
    *,
    align: Sequence[str] = (),
    numbers: bool = False,
) -> str:
    """Lines of cells, each on one line whatever stands in it.

    ``align`` says ``left`` or ``right`` for every column. With ``numbers``, columns of nothing but
    numbers are aligned by their points.
    """
    rows = [[visible(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
    return tabulate(
        rows,
        [visible(title) for title in header],
        tablefmt="simple",
        colalign=align or None,
        disable_numparse=not numbers,
        preserve_whitespace=True,
    )
