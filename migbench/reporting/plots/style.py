"""How figures look: sizes and type for print, and nothing in them that changes from day to day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from migbench.util.files import replaced

COLUMN = 3.25
PAGE = 6.75
"""Widths in inches: a column of a two-column page, and the page."""

LIGHT = "#d0d0d0"
DARK = "#404040"

_CHARACTER = 0.068
_LINE = 0.17
_HANDLE = 0.4
"""Inches that a character of 8 points takes, rather more than less, a line, and a legend's sign."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # It comes with matplotlib, so it is the same everywhere.
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "axes.linewidth": 0.6,
    "axes.edgecolor": DARK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "grid.color": LIGHT,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "text.parse_math": False,  # A model's name is no formula.
    "svg.fonttype": "none",  # Text stays text: to be searched, and set in the page's own type.
    "svg.hashsalt": "migbench",
    "pdf.fonttype": 42,  # TrueType, which publishers ask for.
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, what its caption must say about it, and whether intervals are in it."""

    figure: Figure
    notes: Sequence[str] = ()
    intervals: bool = True


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in here: in this style whatever the user's own is, which is left as it was."""
    with matplotlib.rc_context():
        style.use(["default", _STYLE])
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose parts make room for each other."""
    room = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
    return Figure(figsize=(width, height), layout=room)


def add_legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Name what is drawn above the axes, which keep their height: the figure grows."""
    room = int((figure.get_figwidth() - _HANDLE) / _CHARACTER)
    labels = ["\n".join(wrap(str(handle.get_label()), room)) for handle in handles]
    lines = [label.split("\n") for label in labels]
    widest = max(len(line) for label in lines for line in label) * _CHARACTER + _HANDLE
    columns = min(len(handles), max(1, int(figure.get_figwidth() // widest)))
    rows = math.ceil(len(handles) / columns) * max(map(len, lines))
    figure.set_figheight(figure.get_figheight() + _LINE * rows)
    figure.legend(handles=handles, labels=labels, loc="outside upper center", ncols=columns)


def percent_axis(axes: Axes, label: str = "Acc@0.5, %") -> None:
    """Let the vertical axis go from 0 to 100."""
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(label)
    axes.grid(axis="y")


def save(figure: Figure, path: Path, caption: Sequence[str]) -> None:
    """Write a figure in one step, its caption inside, in the format that the ending names.

    Dates are left out, so that the same figure gives the same bytes.
    """
    kind = path.suffix.removeprefix(".")
    text = "\n".join(caption)
    metadata: dict[str, dict[str, str | None]] = {
        "svg": {"Title": caption[0], "Description": text, "Date": None},
        "pdf": {"Title": caption[0], "Subject": text, "CreationDate": None},
        "png": {"Title": caption[0], "Description": text},
    }
    with replaced(path) as partial:
        figure.savefig(partial, format=kind, metadata=metadata[kind])
