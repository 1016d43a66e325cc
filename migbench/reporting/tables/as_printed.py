"""Published tables on a terminal: as they are printed, and what an audit of them has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from migbench.reporting.published import PublishedRow, PublishedTable
from migbench.reporting.published.figures import AVERAGE
from migbench.reporting.published.findings import ABOUT, Finding
from migbench.reporting.published.reproduction import Beside, Reproduction
from migbench.reporting.tables.rows import with_ends
from migbench.tasks import load_tasks
from migbench.util.plain_table import plain_table

DOUBT = "?"
"""Stands behind a figure that an audit has found something about."""


def published_list(tables: Sequence[PublishedTable]) -> str:
    """One line a table: its name, what it is about, and on which annotations."""
    body = [
        [table.name, table.title, table.annotations or "–", str(len(table.rows)), table.caption]
        for table in tables
    ]
    header = ["Name", "Printed as", "Annotations", "Rows", "Caption"]
    return plain_table(body, header)


def as_printed(table: PublishedTable, findings: Sequence[Finding]) -> str:
    """One table as printed, with how its rows were asked; doubtful figures are marked."""
    doubtful = {
        (finding.row, finding.column)
        for finding in findings
        if table.title in finding.tables and finding.check != "repeat"
    }
    names = {spec.key: spec.column for spec in load_tasks()}
    forms = table.annotations is not None
    averages = any(row.average is not None for row in table.rows)
    columns = [*table.columns, AVERAGE] if averages else [*table.columns]
    header = ["Row", *["Form"] * forms, *(names.get(column, column) for column in table.columns)]
    body: list[list[str]] = []
    section = ""
    for row in table.rows:
        if row.section != section:
            section = row.section
            body.append([section, *[""] * (len(columns) + forms)])
        indent = "  " if section else ""
        times = f" (printed {row.times} times)" if row.times > 1 else ""
        cells = [
            _cell(table, row, column) + DOUBT * ((row.label, column) in doubtful)
            for column in columns
        ]
        body.append([indent + row.label + times, *[_form(row)] * forms, *cells])
    header += ["AVE"] * averages
    align = ["left"] * (1 + forms) + ["right"] * len(columns)
    lines = plain_table(body, header, align=align)
    return "\n".join([lines, "", *_notes(table, bool(doubtful))])


def audit_report(findings: Sequence[Finding]) -> str:
    """Findings by check, one line each."""
    names = {spec.key: spec.column for spec in load_tasks()} | {AVERAGE: "AVE"}
    parts = []
    for check, about in ABOUT.items():
        body = [
            [
                *(", ".join(each.tables), each.row, names.get(each.column, each.column)),
                *(each.printed, " or ".join(each.recomputed)),
                "; ".join(
                    [
                        *(f"could be {cause}" for cause in each.could_be),
                        *[each.remark] * bool(each.remark),
                    ]
                ),
            ]
            for each in findings
            if each.check == check
        ]
        if body:
            header = [
                "Printed in",
                "Row",
                "Column",
                "Printed",
                RECOMPUTED.get(check, "Recomputed"),
                "",
            ]
            align = ("left", "left", "left", "right", "right", "left")
            lines = plain_table(body, header, align=align)
            parts.append(f"{about} ({len(body)})\n\n{lines}")
    return "\n\n".join(parts)


def reproduction_table(reproduction: Reproduction) -> str:
    """A published row and a run side by side, one line a column."""
    names = {spec.key: spec.column for spec in load_tasks()} | {AVERAGE: "AVE"}
    body = [
        [
            *(names[each.column], f"{each.published:.2f}"),
            with_ends(each.reproduced, each.interval),
            {True: "inside", False: "OUTSIDE", None: _not_compared(each)}[each.inside],
        ]
        for each in reproduction.columns
    ]
    header = ["Task", "Published", f"{reproduction.model} [95 %]", "Published is"]
    align = ("left", *["right"] * 2, "left")
    lines = plain_table(body, header, align=align)
    known = reproduction.published_corrections or "none known"
    return (
        f"{lines}\n\nPublished: {reproduction.table}, {reproduction.row}, on the "
        f"{reproduction.annotations} annotations; corrections: {known}."
    )


def _not_compared(column: Beside) -> str:
    """Why a run's figure says nothing of a published one."""
    if column.available is None or column.n == column.available:
        return "–"
    return f"not compared, {column.n:,} of {column.available:,} asked"


RECOMPUTED = {"hits": "Nearest", "repeat": "Elsewhere", "weights": "By tasks"}
"""What a check sets beside the printed figure, if not the same recomputed."""


def _cell(table: PublishedTable, row: PublishedRow, column: str) -> str:
    if column != AVERAGE:
        return table.as_printed(row, column)
    return "" if row.average is None else f"{row.average:.{table.decimals_of(row, column)}f}"


def _form(row: PublishedRow) -> str:
    return f"{row.evaluator}, {row.strategy}"


def _notes(table: PublishedTable, doubtful: bool) -> Iterator[str]:
    where = f", {table.title}" if table.source.table else ""
    yield f"{table.source.title}{where}."
    yield f"{table.source.reference}."
    if table.annotations:
        yield (
            f"On the {table.annotations} annotations: not to be ranked with rows on others. "
            "Corrections of boxes are named where they are known."
        )
    yield from (f"{row.label}: {row.corrections}" for row in table.rows if row.corrections)
    if table.counts:
        yield "Instances: " + ", ".join(f"{n} {column}" for column, n in table.counts.items()) + "."
    if table.changes_from:
        yield f"Differences to {table.changes_from}, as printed:"
        for row in table.rows:
            if row.changes:
                changes = (f"{column} {change:+.2f}" for column, change in row.changes.items())
                yield f"  {row.label}: {', '.join(changes)}"
    if any(row.sampled for row in table.rows):
        yield "* measured on a random 20 % of the task."
    yield from filter(None, [table.remark])
    if doubtful:
        yield f"{DOUBT} `migbench published audit {table.name}` says what is amiss."
