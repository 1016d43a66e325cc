"""The layouts of the paper's tables: their columns, and what a run's figure in each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from migbench.published import DECIMALS, PublishedTable, load_table
from migbench.scoring import Interval, Scores
from migbench.scoring.summary import Figures
from migbench.scoring.uncertainty import mean_interval
from migbench.tasks import TaskSpec, find_task, load_tasks

AVERAGE = "average"
"""The key of the column AVE."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``key`` as in published tables, ``title`` as printed above it.

    ``figure`` is a scored run's accuracy in percent, or None where the run has none, and
    ``interval`` that accuracy's. ``heads`` are the groups printed above the title, the widest
    first. Where published figures are computed otherwise than those of runs, the column is not
    ``ranked``.
    """

    key: str
    title: str
    figure: Callable[[Scores], float | None]
    interval: Callable[[Scores], Interval | None]
    heads: tuple[str, ...] = ()
    ranked: bool = True
    decimals: int = DECIMALS


@dataclass(frozen=True)
class Layout:
    """The columns of a table, and the published tables whose rows fit under them.

    ``labels`` are the titles of what names a row. Where a setting has a column of its own, it is
    left out of the model's label.
    """

    columns: tuple[Column, ...]
    published: tuple[PublishedTable, ...]
    labels: tuple[str, ...] = ("Model",)
    note: str = ""

    def heads(self) -> list[list[tuple[str, int]]]:
        """The lines above the titles: names of neighbouring columns' group, and how many they are.

        The name is empty above columns without a group.
        """
        depth = max(len(column.heads) for column in self.columns)
        names = (
            [column.heads[level] if column.heads else "" for column in self.columns]
            for level in range(depth)
        )
        return [[(name, len(list(alike))) for name, alike in groupby(line)] for line in names]


def main_results(*published: str) -> Layout:
    """Tables 1 and 11: every task in its groups, and the average."""
    columns = (_task_column(spec, (spec.group, spec.subgroup)) for spec in load_tasks())
    return Layout((*columns, _average()), tuple(map(load_table, published)))


def groups() -> Layout:
    """Table 5: every group of tasks, and the average."""
    specs = load_tasks()
    columns = []
    for group in dict.fromkeys(spec.group for spec in specs):
        title = group.removesuffix(" Grounding")
        tasks = [spec.key for spec in specs if spec.group == group]
        columns.append(_mean_column(title.lower(), title, tasks))
    return Layout(
        (*columns, _average(ranked=False)),
        (load_table("table5"),),
        note="Groups: the unweighted mean of their tasks; AVE: of all tasks, as in Table 1.",
    )


def answering_forms() -> Layout:
    """Table 10: the tasks that can be asked all at once; the setting has its own column."""
    table = load_table("table10")
    columns = tuple(_task_column(find_task(key)) for key in table.columns)
    return Layout(columns, (table,), labels=("Model", "Setting"))


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "table1": lambda: main_results("table1", "table11"),
    "table5": groups,
    "table10": answering_forms,
    "table11": lambda: main_results("table11"),
}
"""By the table's number in the paper. Table 1 takes in the published rows of Table 11."""


def mean_accuracy(tasks: Iterable[str]) -> Callable[[Scores], float | None]:
    """The unweighted mean of the tasks' Acc@0.5; None where a run lacks one of them."""
    keys = tuple(tasks)

    def figure(scores: Scores) -> float | None:
        known = [
            accuracy
            for key in keys
            if key in scores.tasks and (accuracy := scores.tasks[key].at_50) is not None
        ]
        return sum(known) / len(known) if len(known) == len(keys) else None

    return figure


def mean_interval_of(tasks: Iterable[str]) -> Callable[[Scores], Interval | None]:
    """The interval of `mean_accuracy`; None where there is none, or a run lacks one of the tasks.

    All tasks of a run have its macro average's.
    """
    keys = tuple(tasks)
    accuracy = mean_accuracy(keys)

    def interval(scores: Scores) -> Interval | None:
        if accuracy(scores) is None:
            return None
        chosen = [scores.tasks[key] for key in keys]
        if len(keys) > 1 and len(keys) == len(scores.tasks):
            return at_half(scores.macro)
        if len(keys) == 1:
            return at_half(chosen[0])
        return mean_interval([each.at_50 or 0.0 for each in chosen], list(map(at_half, chosen)))

    return interval


def at_half(figures: Figures) -> Interval | None:
    """The interval of Acc@0.5."""
    return figures.interval()


def _mean_column(
    key: str,
    title: str,
    tasks: Sequence[str],
    heads: tuple[str, ...] = (),
    *,
    ranked: bool = True,
) -> Column:
    return Column(key, title, mean_accuracy(tasks), mean_interval_of(tasks), heads, ranked)


def _task_column(spec: TaskSpec, heads: tuple[str, ...] = ()) -> Column:
    return _mean_column(spec.key, spec.column, [spec.key], heads)


def _average(*, ranked: bool = True) -> Column:
    return _mean_column(AVERAGE, "AVE", [spec.key for spec in load_tasks()], ranked=ranked)
