"""Checking published tables by recomputation: whether figures can be, and follow from others.

An accuracy over n targets is k/n for a whole k; an average is that of its cells; a figure that is
printed twice is the same. All is computed in exact fractions. Where a figure does not follow, the
audit says what would explain it: cutting off in place of rounding, or cells that were rounded
after they were averaged. Nothing is known beforehand about any figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import product

from msgspec.structs import replace

from migbench.reporting.published import PublishedRow, PublishedTable
from migbench.reporting.published.figures import (
    AVERAGE,
    Mean,
    Printed,
    mean_of,
    nearest_shares,
    printed_figure,
    targets,
    task_specs,
)
from migbench.reporting.published.findings import ABOUT, Cause, Check, Finding


def audit(tables: Sequence[PublishedTable]) -> tuple[Finding, ...]:
    """Every finding in these tables, by check; the same in two tables is one finding.

    Rows are held against rows on the same annotations only.
    """
    found: dict[Finding, tuple[str, ...]] = {}
    for table in tables:
        for finding in _audit_table(table, tables):
            found[finding] = (*found.get(finding, ()), table.title)
    merged = [replace(finding, tables=titles) for finding, titles in found.items()]
    return tuple(
        finding
        for check in ABOUT
        for finding in [*merged, *_repeats(tables)]
        if finding.check == check
    )


def _audit_table(table: PublishedTable, tables: Sequence[PublishedTable]) -> Iterator[Finding]:
    yield from _counts(table)
    for row in table.rows:
        for column in table.columns:
            yield from _hits(table, row, column)
    yield from _averages(table)
    yield from _groups(table, tables)
    yield from _changes(table)


def _hits(table: PublishedTable, row: PublishedRow, column: str) -> Iterator[Finding]:
    """An accuracy over n targets is k/n for a whole k."""
    figure = printed_figure(table, row, column)
    numbers = targets(table, row, column)
    if figure is None or not numbers:
        return
    shares = [share for number in numbers for share in nearest_shares(figure, number)]
    if any(figure.rounds(share) for share in shares):
        return
    nearest = sorted(set(shares), key=lambda share: abs(share - figure.value))[:2]
    yield Finding(
        check="hits",
        tables=(),
        row=row.label,
        column=column,
        printed=str(figure),
        recomputed=tuple(figure.show(share) for share in sorted(nearest)),
        could_be=("truncation",) if any(map(figure.cuts, shares)) else (),
        remark=f"of {' or '.join(map(str, numbers))} targets",
    )


def _averages(table: PublishedTable) -> Iterator[Finding]:
    """An average is that of its row's cells, under the weights that the table must have."""
    rows = [row for row in table.rows if row.average is not None]
    weights = _expected_weights(table)
    if table.divided_by == "group" and rows:
        other, fitting = _best_weights(table, rows)
        expected = [row for row in rows if _mean_of_row(table, row, weights).can_be]
        if 2 * len(expected) < len(rows) < 2 * len(fitting):
            yield Finding(
                check="weights",
                tables=(),
                row=f"{len(fitting)} of {len(rows)} rows",
                column=AVERAGE,
                printed=_ratio(other),
                recomputed=(_ratio(weights),),
                remark=" : ".join(table.columns),
            )
            weights = other
    remark = f"by weights {_ratio(weights)}" if len(set(weights)) > 1 else ""
    for row in rows:
        yield from _amiss("average", _mean_of_row(table, row, weights), row, AVERAGE, remark)


def _mean_of_row(table: PublishedTable, row: PublishedRow, weights: Sequence[int]) -> Mean:
    figure = printed_figure(table, row, AVERAGE)
    assert figure is not None
    return mean_of(figure, table, row, dict(zip(table.columns, weights, strict=True)))


def _amiss(
    check: Check, found: Mean, row: PublishedRow, column: str, remark: str = ""
) -> Iterator[Finding]:
    """A finding, where the mean of the printed cells is not what is printed."""
    if found.figure.rounds(found.mean):
        return
    causes: dict[Cause, bool] = {
        "truncation": found.figure.cuts(found.mean),
        "rounding of the cells": found.can_be,
    }
    yield Finding(
        check=check,
        tables=(),
        row=row.label,
        column=column,
        printed=str(found.figure),
        recomputed=(found.figure.show(found.mean),),
        could_be=tuple(cause for cause, holds in causes.items() if holds),
        remark=remark,
    )


def _expected_weights(table: PublishedTable) -> tuple[int, ...]:
    """A group of tasks weighs as many as it has; any other column weighs 1."""
    if table.divided_by != "group":
        return (1,) * len(table.columns)
    return tuple(len(_tasks_of(group)) for group in table.columns)


def _best_weights(
    table: PublishedTable, rows: Sequence[PublishedRow]
) -> tuple[tuple[int, ...], list[PublishedRow]]:
    """The small whole weights under which most averages follow, the smallest of them first."""
    choices = (
        weights
        for weights in product(range(1, 11), repeat=len(table.columns))
        if math.gcd(*weights) == 1
    )
    best: tuple[tuple[int, ...], list[PublishedRow]] = ((), [])
    for weights in sorted(choices, key=sum):
        fitting = [row for row in rows if _mean_of_row(table, row, weights).can_be]
        if len(fitting) > len(best[1]):
            best = weights, fitting
    return best


def _groups(table: PublishedTable, tables: Sequence[PublishedTable]) -> Iterator[Finding]:
    """A group's figure is the unweighted mean of its tasks in a table of all tasks."""
    if table.divided_by != "group":
        return
    for row, group in product(table.rows, table.columns):
        figure = printed_figure(table, row, group)
        source = _row_with_tasks(table, row, tables, _tasks_of(group))
        if figure is None or source is None:
            continue
        found = mean_of(figure, *source, dict.fromkeys(_tasks_of(group), 1))
        yield from _amiss("group", found, row, group, _same_figure(table, row, group))


def _same_figure(table: PublishedTable, row: PublishedRow, column: str) -> str:
    same = [
        other.label
        for other in table.rows
        if other is not row and other.figures[column] == row.figures[column]
    ]
    return f"the same as {', '.join(same)}'s" if same else ""


def _row_with_tasks(
    table: PublishedTable,
    row: PublishedRow,
    tables: Iterable[PublishedTable],
    tasks: Sequence[str],
) -> tuple[PublishedTable, PublishedRow] | None:
    for other in tables:
        if other.divided_by == "task" and other.annotations == table.annotations:
            for candidate in other.rows:
                same = _identity(candidate) == _identity(row)
                if same and all(candidate.figures.get(task) is not None for task in tasks):
                    return other, candidate
    return None


def _tasks_of(group: str) -> tuple[str, ...]:
    """The tasks of a group, which goes by the first word of its name."""
    return tuple(
        key for key, spec in task_specs().items() if spec.group.lower().split()[0] == group.lower()
    )


def _counts(table: PublishedTable) -> Iterator[Finding]:
    """Columns that divide the instances have as many as there are."""
    if not table.counts or not table.annotations:
        return
    everything = sum(spec.instances.get(table.annotations, 0) for spec in task_specs().values())
    printed = sum(table.counts.values())
    if printed != everything:
        yield Finding(
            check="counts",
            tables=(),
            row="instances",
            column=" + ".join(table.columns),
            printed=str(printed),
            recomputed=(str(everything),),
        )


def _changes(table: PublishedTable) -> Iterator[Finding]:
    """A difference in parentheses is that to the row it is against."""
    for row, column in product(table.rows, table.columns):
        if column not in row.changes:
            continue
        base = printed_figure(table, table.row(table.changes_from), column)
        figure = printed_figure(table, row, column)
        assert base is not None
        assert figure is not None
        printed = Fraction(f"{row.changes[column]:.{table.decimals_of(row, column)}f}")
        difference = figure.value - base.value
        # Either was rounded by itself, so their difference may be off by one in the last place.
        if abs(difference - printed) > figure.unit:
            yield Finding(
                check="change",
                tables=(),
                row=row.label,
                column=column,
                printed=_signed(figure, printed),
                recomputed=(_signed(figure, difference),),
                remark=f"to {table.changes_from}",
            )


def _repeats(tables: Sequence[PublishedTable]) -> Iterator[Finding]:
    """A model's accuracy in one form on one task of one file is one figure, wherever printed."""
    first: dict[tuple[str, ...], tuple[PublishedTable, str]] = {}
    for table in tables:
        if table.divided_by != "task":
            continue
        for row, column in product(table.rows, table.columns):
            if row.figures[column] is None:
                continue
            printed = table.as_printed(row, column)
            key = (str(table.annotations), *_identity(row), column)
            where, before = first.setdefault(key, (table, printed))
            if before != printed:
                yield Finding(
                    check="repeat",
                    tables=(where.title, table.title),
                    row=_identity(row)[0],
                    column=column,
                    printed=before,
                    recomputed=(printed,),
                )


def _identity(row: PublishedRow) -> tuple[str, str, str]:
    return row.model, row.strategy, row.evaluator


def _signed(figure: Printed, value: Fraction) -> str:
    return ("+" if value > 0 else "") + figure.show(value)


def _ratio(weights: Sequence[int]) -> str:
    return ":".join(map(str, weights))
