"""Tables for documents and programs: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io

from tabulate import tabulate

from migbench.reporting.tables.rows import Row, Table
from migbench.util import escaping


def markdown(table: Table) -> str:
    """A pipe table; the best of comparable figures is bold. Names are shown as they are."""
    layout = table.layout
    header = [*layout.labels, *(column.title for column in layout.columns)]
    body: list[list[str]] = []
    for section in table.sections:
        body.append([f"*{escaping.markdown(section.heading)}*", *[""] * (len(header) - 1)])
        body += [
            [*map(escaping.markdown, row.labels), *_with_margins(table, row, "**{}**", " {}")]
            for row in section.rows
        ]
    align = ["left"] * len(layout.labels) + ["right"] * len(layout.columns)
    lines = tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True)
    return "\n\n".join([lines, *map(escaping.markdown, table.notes)])


def latex(table: Table) -> str:
    """A booktabs table with the group headings; the best of comparable figures is bold."""
    layout = table.layout
    labels, columns = len(layout.labels), len(layout.columns)
    lines = [rf"\begin{{tabular}}{{{'l' * labels}{'r' * columns}}}", r"\toprule"]
    for heads in layout.heads():
        cells = [""] * labels
        for name, count in heads:
            named = [rf"\multicolumn{{{count}}}{{c}}{{{escaping.latex(name)}}}"]
            cells += named if name else [""] * count
        lines.append(" & ".join(cells) + r" \\")
    titles = (escaping.latex(column.title) for column in layout.columns)
    lines.append(" & ".join([*(f"{label}s" for label in layout.labels), *titles]) + r" \\")
    for section in table.sections:
        heading = escaping.latex(section.heading)
        spanning = rf"\multicolumn{{{labels + columns}}}{{l}}{{{heading}}} \\"
        lines += [r"\midrule", spanning]
        for row in section.rows:
            cells = _with_margins(table, row, r"\textbf{{{}}}", r" {{\scriptsize {}}}")
            figures = (_dagger(cell).replace("±", r"$\pm$") for cell in cells)
            lines.append(" & ".join([*map(escaping.latex, row.labels), *figures]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {escaping.visible(note)}" for note in table.notes)])


def comma_separated(table: Table) -> str:
    """CSV with a header; figures unmarked, at full precision; intervals as columns of their own."""
    layout = table.layout
    keys = [column.key for column in layout.columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ends = [f"{key} {end}" for key in keys for end in ("low", "high")] * table.has_intervals
    labels = (label.lower() for label in layout.labels)
    writer.writerow(["section", *labels, "annotations", *keys, *ends])
    for section in table.sections:
        for row in section.rows:
            figures = [row.figures.get(key) for key in keys]
            if table.has_intervals:
                intervals = [row.intervals.get(key) for key in keys]
                for each in intervals:
                    figures += [each.low, each.high] if each else [None, None]
            cells = ["" if figure is None else repr(figure) for figure in figures]
            names = map(escaping.csv, (section.heading, *row.labels, row.annotations))
            writer.writerow([*names, *cells])
    return buffer.getvalue().rstrip("\n")


def _with_margins(table: Table, row: Row, best: str, small: str) -> list[str]:
    """A row's figures, each with its margin in its cell, in these formats."""
    return [
        cell + (small.format(margin) if margin else "")
        for cell, margin in zip(table.cells(row, best.format), table.margins(row), strict=True)
    ]


def _dagger(cell: str) -> str:
    return cell.replace("†", r"\textsuperscript{\dag}").replace("–", "--")
