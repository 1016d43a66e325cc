"""A reproduced row beside the published one: whether that lies in the reproduction's intervals."""

from __future__ import annotations

from msgspec import Struct, field

from migbench.errors import UsageError
from migbench.models.resolving import load_profiles
from migbench.reporting.published import PublishedRow, PublishedTable
from migbench.reporting.published.figures import AVERAGE
from migbench.scoring import Interval, Scores, coverage_of
from migbench.scoring.summary import Figures


class Beside(Struct, frozen=True, kw_only=True):
    """One column: Acc@0.5 in percent as published and as reproduced, with the latter's interval.

    ``inside`` says whether the published figure lies in the interval; None where there is none, and
    where the run was asked ``n`` of ``N`` instances only, which is no reproduction.
    """

    column: str
    n: int
    available: int | None = field(name="N")
    published: float
    reproduced: float | None
    interval: Interval | None
    inside: bool | None


class Reproduction(Struct, frozen=True, kw_only=True):
    """A published row and a run of the same model in the same form, column by column."""

    table: str
    row: str
    model: str
    annotations: str
    corrections: str
    published_corrections: str
    columns: tuple[Beside, ...]


def set_beside(table: PublishedTable, scores: Scores, row: str | None = None) -> Reproduction:
    """Set a scored run beside its published row: the one named, or that of the run's profile.

    Columns that the run was not asked for, or the table leaves out, are left out. Raises
    `UsageError` where the run is on other annotations than the table, the table is not one of
    tasks, or has no such row.
    """
    if table.divided_by != "task":
        raise UsageError(f"{table.name} is not divided by task; choose table1, 9, 10, 11 or later")
    if scores.annotations.version != table.annotations:
        raise UsageError(
            f"{table.name} is on the {table.annotations} annotations, the run of {scores.model} on "
            f"{scores.annotations.label}; results on different files cannot be compared"
        )
    printed = _named(table, row) if row else _own_row(table, scores)
    columns = [
        _beside(column, figure, scores.tasks[column])
        for column, figure in printed.figures.items()
        if figure is not None and column in scores.tasks
    ]
    if printed.average is not None and len(columns) == len(table.columns) == len(scores.tasks):
        columns.append(_beside(AVERAGE, printed.average, scores.macro))
    return Reproduction(
        table=table.name,
        row=printed.label,
        model=(scores.name or scores.model) + coverage_of(scores).mark,
        annotations=scores.annotations.label,
        corrections=scores.corrections,
        published_corrections=printed.corrections,
        columns=tuple(columns),
    )


def _beside(column: str, published: float, figures: Figures) -> Beside:
    interval = figures.interval()
    in_part = figures.available is not None and figures.n < figures.available
    return Beside(
        column=column,
        n=figures.n,
        available=figures.available,
        published=published,
        reproduced=figures.at_50,
        interval=interval,
        inside=interval.low <= published <= interval.high if interval and not in_part else None,
    )


def _named(table: PublishedTable, name: str) -> PublishedRow:
    for row in table.rows:
        if name in (row.label, row.model):
            return row
    known = "; ".join(row.label for row in table.rows)
    raise UsageError(f"published {table.name} has no row {name!r}; its rows are: {known}")


def row_of(table: PublishedTable, scores: Scores) -> PublishedRow | None:
    """The row of the run's profile, in the run's form, if the table has one."""
    profile = load_profiles().get(scores.model)
    for row in table.rows:
        name = row.model.removesuffix("+CoT").removesuffix("+mCoT")
        form = (row.strategy, row.evaluator)
        if profile and name == profile.published and form == (scores.strategy, scores.evaluator):
            return row
    return None


def _own_row(table: PublishedTable, scores: Scores) -> PublishedRow:
    if (row := row_of(table, scores)) is not None:
        return row
    known = "; ".join(row.label for row in table.rows)
    raise UsageError(
        f"published {table.name} has no row known to be that of {scores.model} "
        f"({scores.evaluator}, {scores.strategy}); name one with --row: {known}"
    )
