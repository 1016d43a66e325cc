"""The layouts of the paper's tables: their columns, and what a run's figure in each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from migbench.reporting.published import DECIMALS, PublishedTable, load_table
from migbench.scoring import HIT, METRICS, Interval, Scores, TaskScores
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
    left out of the model's label. ``metric`` names what runs' figures are; published ones are
    Acc@0.5. ``tasks`` are those that the columns are about, None for all: a run that was asked
    fewer of their instances is not ranked.
    """

    columns: tuple[Column, ...]
    published: tuple[PublishedTable, ...]
    labels: tuple[str, ...] = ("Model",)
    note: str = ""
    metric: str = HIT
    tasks: tuple[str, ...] | None = None

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


def main_results(*published: str, metric: str = HIT) -> Layout:
    """Tables 1 and 11: every task in its groups, and the average."""
    columns = (_task_column(spec, metric, (spec.group, spec.subgroup)) for spec in load_tasks())
    return Layout((*columns, _average(metric)), tuple(map(load_table, published)), metric=metric)


def groups(metric: str = HIT) -> Layout:
    """Table 5: every group of tasks, and the average."""
    specs = load_tasks()
    columns = []
    for group in dict.fromkeys(spec.group for spec in specs):
        title = group.removesuffix(" Grounding")
        tasks = [spec.key for spec in specs if spec.group == group]
        columns.append(_mean_column(title.lower(), title, tasks, metric))
    return Layout(
        (*columns, _average(metric, ranked=False)),
        (load_table("table5"),),
        note="Groups: the unweighted mean of their tasks; AVE: of all tasks, as in Table 1.",
        metric=metric,
    )


def answering_forms(metric: str = HIT) -> Layout:
    """Table 10: the tasks that can be asked all at once; the setting has its own column."""
    table = load_table("table10")
    columns = tuple(_task_column(find_task(key), metric) for key in table.columns)
    tasks = tuple(table.columns)
    return Layout(columns, (table,), labels=("Model", "Setting"), metric=metric, tasks=tasks)


LAYOUTS: dict[str, Callable[..., Layout]] = {
    "table1": partial(main_results, "table1", "table11"),
    "table5": groups,
    "table10": answering_forms,
    "table11": partial(main_results, "table11"),
}
"""By the table's number in the paper; each takes the name of a ``metric``, Acc@0.5 without one.

Table 1 takes in the published rows of Table 11.
"""


def mean_figure(tasks: Iterable[str], metric: str = HIT) -> Callable[[Scores], float | None]:
    """The unweighted mean of the tasks' figures; None where a run lacks one of them.

    Tasks without targets that count for a partial metric are left out.
    """
    keys = tuple(tasks)

    def figure(scores: Scores) -> float | None:
        figures = [each.figure(metric) for each in _counting(scores, keys, metric)]
        known = [each for each in figures if each is not None]
        return sum(known) / len(known) if known and len(known) == len(figures) else None

    return figure


def mean_interval_of(
    tasks: Iterable[str], metric: str = HIT
) -> Callable[[Scores], Interval | None]:
    """The interval of `mean_figure`; None where there is none, or a run lacks one of the tasks.

    All tasks of a run have its macro average's.
    """
    keys = tuple(tasks)
    mean = mean_figure(keys, metric)

    def interval(scores: Scores) -> Interval | None:
        if mean(scores) is None or not METRICS[metric].share:
            return None
        if len(keys) > 1 and len(keys) == len(scores.tasks):
            return scores.macro.interval(metric)
        chosen = _counting(scores, keys, metric)
        intervals = [each.interval(metric) for each in chosen]
        if len(chosen) == 1:
            return intervals[0]
        return mean_interval([each.figure(metric) or 0.0 for each in chosen], intervals)

    return interval


def _counting(scores: Scores, keys: Iterable[str], metric: str) -> list[TaskScores]:
    """The scores of those of the tasks that have a figure by the metric; none if one is missing."""
    if any(key not in scores.tasks for key in keys):
        return []
    return [scores.tasks[key] for key in keys if scores.tasks[key].counts_for(metric)]


def at_half(figures: Figures) -> Interval | None:
    """The interval of Acc@0.5."""
    return figures.interval()


def _mean_column(
    key: str,
    title: str,
    tasks: Sequence[str],
    metric: str,
    heads: tuple[str, ...] = (),
    *,
    ranked: bool = True,
) -> Column:
    figure, interval = mean_figure(tasks, metric), mean_interval_of(tasks, metric)
    return Column(key, title, figure, interval, heads, ranked, decimals_of(metric))


def _task_column(spec: TaskSpec, metric: str, heads: tuple[str, ...] = ()) -> Column:
    return _mean_column(spec.key, spec.column, [spec.key], metric, heads)


def _average(metric: str, *, ranked: bool = True) -> Column:
    tasks = [spec.key for spec in load_tasks()]
    return _mean_column(AVERAGE, "AVE", tasks, metric, ranked=ranked)


def decimals_of(metric: str) -> int:
    """How many decimals a metric's figures are printed with."""
    return DECIMALS if METRICS[metric].share else DECIMALS + 2
