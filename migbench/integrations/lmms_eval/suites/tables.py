"""Tables 2, 3 and 4: other benchmarks, in the paper's layouts beside the published rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from migbench.integrations.lmms_eval.suites.runs import GeneralRun, Measured
from migbench.integrations.lmms_eval.suites.suites import PARTS, SUITES, V_STAR, Benchmark
from migbench.reporting.published import DECIMALS, load_table
from migbench.reporting.tables.layouts import AVERAGE, Column, Layout
from migbench.reporting.tables.printed import published_notes, published_sections
from migbench.reporting.tables.rows import Row, Section, Table
from migbench.scoring import Scores

PARTS_LABEL = "  V* Bench in parts"
"""Of the row below a model's own that holds its second figure for V*Bench."""


def general_layout(suite: str) -> Layout:
    """A suite's columns as printed, with the average where the published table has one."""
    table = load_table(suite)
    columns = [
        _column(each.key, each.title, each.head, table.decimals.get(each.key, DECIMALS))
        for each in SUITES[suite]
        if each.key in table.columns
    ]
    if any(row.average is not None for row in table.rows):
        columns.append(_column(AVERAGE, "AVE"))
    return Layout(tuple(columns), (table,))


def general_table(
    suite: str, runs: Mapping[str, GeneralRun], asked: Sequence[Benchmark] = ()
) -> Table:
    """These runs' figures by label, and the published rows; notes on the benchmarks ``asked``."""
    layout = general_layout(suite)
    rows = [row for label, run in runs.items() for row in _rows(suite, layout, label, run)]
    sections = [
        Section(f"Measured with {made}", tuple(row for row in rows if row.annotations == made))
        for made in dict.fromkeys(row.annotations for row in rows)
    ]
    return Table(
        layout,
        (*sections, *published_sections(layout)),
        tuple(_notes(suite, layout, runs, asked or SUITES[suite])),
    )


def _column(key: str, title: str, head: str = "", decimals: int = DECIMALS) -> Column:
    return Column(key, title, _nothing, _nothing, (head,) if head else (), decimals=decimals)


def _nothing(scores: Scores) -> None:
    """A run on MIG-Bench has no figure on another benchmark."""


def _rows(suite: str, layout: Layout, label: str, run: GeneralRun) -> Iterator[Row]:
    found = {key: each for key, each in run.benchmarks.items() if key in _keys(suite)}
    for made in dict.fromkeys(_made(each) for each in found.values()):
        alike = {key: each.figure for key, each in found.items() if _made(each) == made}
        figures = {column.key: alike.get(column.key) for column in layout.columns}
        if AVERAGE in figures:
            figures[AVERAGE] = _mean([alike.get(key) for key in _keys(suite)])
        limits = {each.limit for each in found.values() if _made(each) == made}
        (limit,) = limits
        mark = "" if limit is None else f" [first {limit:,} of each task]"
        yield Row((label + mark,), figures, made, ranked=limit is None)
        if alike.get(PARTS) is not None:
            yield Row((PARTS_LABEL,), {V_STAR.key: alike[PARTS]}, made, ranked=False)


def _keys(suite: str) -> list[str]:
    return [each.key for each in SUITES[suite]]


def _made(found: Measured) -> str:
    """How a figure was made; only figures made alike are ranked together."""
    part = "" if found.limit is None else f", the first {found.limit} questions of each task alone"
    return f"lmms-eval {found.lmms_eval}{part}"


def _mean(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if len(known) == len(figures) else None


def _notes(
    suite: str, layout: Layout, runs: Mapping[str, GeneralRun], asked: Sequence[Benchmark]
) -> Iterator[str]:
    points = [each.title for each in asked if each.key in layout.published[0].points]
    yield (
        f"In percent{f' ({points[0]}: points)' if points else ''}; * or bold is the best of those "
        "measured alike. Measured and printed figures are not ranked together:"
    )
    notes = (note for each in asked if each in SUITES[suite] for note in each.notes)
    yield from (f"- {note}" for note in dict.fromkeys(notes))
    for label, run in runs.items():
        found = [
            (each.name, run.benchmarks[each.key])
            for each in SUITES[suite]
            if each.key in run.benchmarks
        ]
        counts = [f"{each.documents:,} {name}" for name, each in found if each.figure is not None]
        if counts:
            yield f"{label}, documents: {', '.join(counts)}."
        for name, each in found:
            if each.error is not None:
                yield f"{label}, {name}: no figure, {each.error}."
    yield from published_notes(layout)
