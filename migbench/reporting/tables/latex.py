r"""Tables for papers: what stands inside of a ``table*``, or a whole document.

Everything fits into the width of the line: columns share it (``tabular*``), names of rows are
broken, and an interval stands below its figure, the low end above the high one. What the figures
stand on is part of what is printed.
"""

from __future__ import annotations

from collections.abc import Iterator

from migbench.reporting.tables.layouts import Layout
from migbench.reporting.tables.rows import Row, Table
from migbench.util import escaping

DOCUMENT = r"""\documentclass[10pt]{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\begin{document}
\begin{table*}
%s
\end{table*}
\end{document}"""

PREAMBLE = r"""% \usepackage{booktabs}
\begingroup
\fontsize{8}{9.5}\selectfont
\setlength{\tabcolsep}{1pt}"""
NARROW = r"""\ifdim\linewidth<430pt \fontsize{7}{8.5}\selectfont\fi
\ifdim\linewidth<385pt \fontsize{6}{7.5}\selectfont\fi"""
"""In these sizes the eleven columns of Table 1 fit into lines of 345 points and more."""
FEW = 6
"""Columns that leave more room."""
LONG = 16
"""Characters of a word that needs no more places to break it than LaTeX finds."""
PART = 8
"""Characters between the places at which a longer one may be broken."""


def latex(table: Table, *, standalone: bool = False) -> str:
    """A booktabs table with the group headings; the best of comparable figures is bold.

    It stands in a ``table*`` as it is; ``standalone``, it is a document.
    """
    lines = [
        PREAMBLE,
        *[NARROW] * (len(table.layout.columns) > FEW),
        rf"\begin{{tabular*}}{{\linewidth}}{{{_specification(table.layout)}}}",
        r"\toprule",
        *_heads(table.layout),
        *_sections(table),
        r"\bottomrule",
        r"\end{tabular*}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\raggedright",
        *(rf"{_broken(note)}\par" for note in table.notes),
        r"\end{minipage}",
        r"\endgroup",
    ]
    written = "\n".join(lines)
    return DOCUMENT % written if standalone else written


def _specification(layout: Layout) -> str:
    labels, columns = len(layout.labels), len(layout.columns)
    return f"@{{}}{'l' * labels}@{{\\extracolsep{{\\fill}}}}{'r' * columns}@{{}}"


def _heads(layout: Layout) -> Iterator[str]:
    """The groups' names, with a rule below those of several columns, and the columns' titles."""
    labels = len(layout.labels)
    for heads in layout.heads():
        cells, rules = [""] * labels, ""
        place = labels + 1
        for name, count in heads:
            named = [rf"\multicolumn{{{count}}}{{c}}{{{escaping.latex(name)}}}"]
            cells += named if name else [""] * count
            if name and count > 1:
                rules += rf" \cmidrule(lr){{{place}-{place + count - 1}}}"
            place += count
        yield " & ".join(cells) + rf" \\{rules}"
    titles = (escaping.latex(column.title) for column in layout.columns)
    yield " & ".join([*(f"{label}s" for label in layout.labels), *titles]) + r" \\"


def _sections(table: Table) -> Iterator[str]:
    layout = table.layout
    columns = len(layout.labels) + len(layout.columns)
    for section in table.sections:
        heading = rf"\parbox{{0.95\linewidth}}{{\raggedright {_broken(section.heading)}\strut}}"
        yield r"\midrule"
        # Of no width, or the last column would have all of it.
        yield rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\makebox[0pt][l]{{{heading}}}}} \\"
        yield from (_row(table, row) for row in section.rows)


def _row(table: Table, row: Row) -> str:
    name, *others = map(_broken, row.labels)
    width = 0.3 if len(table.layout.columns) <= FEW else 0.16
    labels = [rf"\parbox[t]{{{width}\linewidth}}{{\raggedright {name}\strut}}", *others]
    figures = (
        _figure(cell, row, column.key)
        for cell, column in zip(
            table.cells(row, r"\textbf{{{}}}".format), table.layout.columns, strict=True
        )
    )
    return " & ".join([*labels, *figures]) + r" \\"


def _figure(cell: str, row: Row, key: str) -> str:
    """A figure, and below it the ends of its interval."""
    cell = cell.replace("†", r"\textsuperscript{\dag}").replace("–", "--")
    interval = row.intervals.get(key)
    if interval is None:
        return cell
    small = r"\fontsize{5}{5}\selectfont"
    stacked = rf"{cell}\\[-2pt]{small} [{interval.low:.2f},\\[-2pt]{small} {interval.high:.2f}]"
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stacked}\end{{tabular}}"


def _broken(text: str) -> str:
    """A text that can be broken within words that are longer than a column, too."""
    return " ".join(map(_breakable, text.split(" ")))


def _breakable(word: str) -> str:
    if len(word) <= LONG:
        return escaping.latex(word)
    parts = (word[start : start + PART] for start in range(0, len(word), PART))
    return r"\allowbreak{}".join(map(escaping.latex, parts))
