"""Scored runs, and the published rows, as one table of a layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migbench.reporting.tables.layouts import Layout
from migbench.reporting.tables.printed import published_notes, published_sections
from migbench.reporting.tables.rows import Section, Table
from migbench.reporting.tables.runs import (
    interval_note,
    metric_note,
    run_labels,
    run_notes,
    run_row,
)
from migbench.scoring import Scores


def results_table(
    layout: Layout,
    runs: Sequence[Path],
    scored: Sequence[Scores],
    *,
    published: bool,
    intervals: bool,
    names: Sequence[str] = (),
) -> Table:
    """The runs, one section for every annotation file, and the published rows if wanted."""
    labels = run_labels(
        runs, scored, setting_apart=len(layout.labels) > 1, names=names, tasks=layout.tasks
    )
    rows = [
        run_row(layout, *each, intervals=intervals) for each in zip(scored, labels, strict=True)
    ]
    sections = [
        Section(f"On {files} annotations", tuple(r for r in rows if r.annotations == files))
        for files in dict.fromkeys(row.annotations for row in rows)
    ]
    notes = [
        f"{metric_note(layout.metric)}; * or bold is the best of those on the same annotations."
    ]
    if not all(row.ranked for row in rows):
        notes.append("[n of N]: asked no more than n of the N instances; not ranked with others.")
    if intervals:
        notes.append(f"In brackets: {interval_note(scored[0].bootstrap)}")
    notes += filter(None, [layout.note])
    notes += run_notes(zip(map(", ".join, labels), scored, strict=True))
    if published:
        sections += published_sections(layout)
        notes += published_notes(layout)
    return Table(layout, tuple(sections), tuple(notes))
