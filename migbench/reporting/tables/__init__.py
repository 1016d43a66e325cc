"""Tables in the paper's layouts, and what single runs and comparisons look like on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from migbench.reporting.tables.as_printed import (
    as_printed,
    audit_report,
    published_list,
    reproduction_table,
)
from migbench.reporting.tables.comparison import (
    COSTS_HEADER,
    comparison_cells,
    comparison_table,
    costs_cells,
    costs_table,
    group_cells,
)
from migbench.reporting.tables.latex import latex
from migbench.reporting.tables.layouts import LAYOUTS, Layout
from migbench.reporting.tables.levels import level_table
from migbench.reporting.tables.markup import comma_separated, markdown
from migbench.reporting.tables.outcomes import OUTCOME_COLUMNS, scores_cells, scores_table
from migbench.reporting.tables.printed import published_notes, published_sections
from migbench.reporting.tables.results import results_table
from migbench.reporting.tables.rows import Row, Section, Table
from migbench.reporting.tables.runs import (
    interval_note,
    metric_note,
    run_label,
    run_labels,
    run_notes,
    run_row,
)
from migbench.reporting.tables.text import text

__all__ = [
    "COSTS_HEADER",
    "FORMATS",
    "LAYOUTS",
    "OUTCOME_COLUMNS",
    "Layout",
    "Row",
    "Section",
    "Table",
    "as_printed",
    "audit_report",
    "comparison_cells",
    "comparison_table",
    "costs_cells",
    "costs_table",
    "group_cells",
    "interval_note",
    "latex",
    "level_table",
    "metric_note",
    "published_list",
    "published_notes",
    "published_sections",
    "reproduction_table",
    "results_table",
    "run_label",
    "run_labels",
    "run_notes",
    "run_row",
    "scores_cells",
    "scores_table",
    "text",
]

FORMATS: dict[str, Callable[[Table], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}
