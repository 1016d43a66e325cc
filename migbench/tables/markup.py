"""Tables for documents and programs: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import re

from tabulate import tabulate

from migbench.tables.rows import Row, Table


def markdown(table: Table) -> str:
    """A pipe table; the best of comparable figures is bold."""
    layout = table.layout
    header = [*layout.labels, *(column.title for column in layout.columns)]
    body: list[list[str]] = []
    for section in table.sections:
        body.append([f"*{section.heading}*", *[""] * (len(header) - 1)])
        body += [[*row.labels, *_with_margins(table, row, "**{}**", " {}")] for row in section.rows]
    align = ["left"] * len(layout.labels) + ["right"] * len(layout.columns)
    lines = tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True)
    return "\n\n".join([lines, *table.notes])


def latex(table: Table) -> str:
    """A booktabs table with the group headings; the best of comparable figures is bold."""
    layout = table.layout
    labels, columns = len(layout.labels), len(layout.columns)
    lines = [rf"\begin{{tabular}}{{{'l' * labels}{'r' * columns}}}", r"\toprule"]
    for heads in layout.heads():
        cells = [""] * labels
        for name, count in heads:
            named = [rf"\multicolumn{{{count}}}{{c}}{{{_escape(name)}}}"]
            cells += named if name else [""] * count
        lines.append(" & ".join(cells) + r" \\")
    titles = (_escape(column.title) for column in layout.columns)
    lines.append(" & ".join([*(f"{label}s" for label in layout.labels), *titles]) + r" \\")
    for section in table.sections:
        heading = rf"\multicolumn{{{labels + columns}}}{{l}}{{{_escape(section.heading)}}} \\"
        lines += [r"\midrule", heading]
        for row in section.rows:
            cells = _with_margins(table, row, r"\textbf{{{}}}", r" {{\scriptsize {}}}")
            figures = (_dagger(cell).replace("±", r"$\pm$") for cell in cells)
            lines.append(" & ".join([*map(_escape, row.labels), *figures]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {note}" for note in table.notes)])


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
            writer.writerow([section.heading, *row.labels, row.annotations, *cells])
    return buffer.getvalue().rstrip("\n")


def _with_margins(table: Table, row: Row, best: str, small: str) -> list[str]:
    """A row's figures, each with its margin in its cell, in these formats."""
    return [
        cell + (small.format(margin) if margin else "")
        for cell, margin in zip(table.cells(row, best.format), table.margins(row), strict=True)
    ]


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def _dagger(cell: str) -> str:
    return cell.replace("†", r"\textsuperscript{\dag}").replace("–", "--")
