"""Figures of scored runs, ready for print: one module a kind, each with one function ``draw``.

matplotlib is loaded when a figure is drawn, and only through figures of its own: nothing of a
program that uses matplotlib otherwise is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from migbench.errors import UsageError
from migbench.reporting.plots.subjects import Plot
from migbench.reporting.tables import interval_note

__all__ = ["KINDS", "WITH_PUBLISHED", "Plot", "write_plot"]

KINDS = {
    "radar": "Acc@0.5 over the ten tasks, on as many axes",
    "tasks": "Acc@0.5 of every task, with intervals",
    "difficulty": "Acc@0.5 by level of a difficulty split",
    "forms": "one form of asking against another: all at once, chains of thought",
    "iou": "how many targets reach every IoU, with the thresholds 0.3, 0.5 and 0.7",
    "cost": "Acc@0.5 against tokens and seconds",
}
"""What there is to draw, by the name of its module."""

WITH_PUBLISHED = ("radar", "tasks")
"""The kinds that can show published rows."""

ENDINGS = (".svg", ".png", ".pdf")


def write_plot(kind: str, plot: Plot, path: Path) -> Sequence[str]:
    """Draw a figure into a file, whose ending says how, and return the lines of its caption.

    The same runs give the same bytes. A file that is there is replaced. Raises `UsageError` for
    another ending, where the runs have not what the kind shows, and without matplotlib.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path}: choose a name that ends in {', '.join(ENDINGS)}")
    try:
        from migbench.reporting.plots.style import save, styled
    except ImportError as error:
        raise UsageError(
            f"plots need matplotlib ({error}): pip install 'migbench[report]'"
        ) from error
    module = import_module(f"migbench.reporting.plots.{kind}")
    with styled():
        drawing = module.draw(plot)
        caption = [f"{KINDS[kind][0].upper()}{KINDS[kind][1:]}.", *drawing.notes]
        caption += [interval_note(plot.bootstrap)] * drawing.intervals
        caption += plot.notes
        save(drawing.figure, path, caption)
    return caption
