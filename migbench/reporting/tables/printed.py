"""Published rows, as printed, under a layout's columns."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.reporting.published import PublishedRow, PublishedTable
from migbench.reporting.tables.layouts import AVERAGE, Layout
from migbench.reporting.tables.rows import Row, Section

AS_PRINTED = "as printed"
"""Of rows on no version of MIG-Bench; they are ranked among themselves alone."""


def published_sections(layout: Layout) -> Iterator[Section]:
    """The published rows by their printed sections; one that is printed twice stands once."""
    rows: dict[tuple[str, ...], tuple[str, Row]] = {}
    for table in layout.published:
        for printed in table.rows:
            row = _row(layout, table, printed)
            rows.setdefault(row.labels, (printed.section, row))
    for section in dict.fromkeys(section for section, _ in rows.values()):
        chosen = tuple(row for its_section, row in rows.values() if its_section == section)
        yield Section(f"Published: {section}" if section else "Published", chosen)


def _row(layout: Layout, table: PublishedTable, printed: PublishedRow) -> Row:
    return Row(
        labels=(printed.model, printed.setting)[: len(layout.labels)],
        figures={**printed.figures, AVERAGE: printed.average},
        annotations=table.annotations or AS_PRINTED,
        ranked=printed.section != "Human",
        sampled=printed.sampled,
        # Other benchmarks have no evaluators of ours.
        facts={"evaluator": printed.evaluator, "strategy": printed.strategy}
        if table.annotations
        else {},
    )


def published_notes(layout: Layout) -> Iterator[str]:
    """Where the published rows stand, and what their tables' figures need to be understood."""
    numbers = " and ".join(str(table.source.table) for table in layout.published)
    tables = "Tables" if len(layout.published) > 1 else "Table"
    (annotations,) = {table.annotations for table in layout.published}
    source = f", on the {annotations} annotations" if annotations else ""
    yield f"Published: {tables} {numbers} of the Migician paper{source}, as printed."
    yield from (table.remark for table in layout.published if table.remark)
    if any(row.sampled for table in layout.published for row in table.rows):
        yield "† measured on a random 20 % of the task."
