"""Tables in the layout of the paper's Table 1: ten tasks in their groups, and the average."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tabulate import tabulate

from migbench.published import PublishedRow, load_table
from migbench.scoring import Outcome, Scores
from migbench.tasks import TaskSpec, load_tasks

AVERAGE = "AVE"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: accuracies in percent by task key, None where there is none.

    Only rows on the same annotations are ranked together, and only those that are ``ranked``.
    """

    label: str
    accuracy: dict[str, float | None]
    average: float | None
    annotations: str
    ranked: bool = True
    sampled: tuple[str, ...] = ()

    def cell(self, column: str) -> float | None:
        """The figure in a column: a task's key, or the average."""
        return self.average if column == AVERAGE else self.accuracy.get(column)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading; all are on the same annotations."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """Sections under Table 1's columns, and notes that say what the figures are."""

    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def best(self, row: Row, column: str) -> bool:
        """Whether a row has the best figure, above zero, of those that it may be compared with."""
        rivals = [
            figure
            for section in self.sections
            for rival in section.rows
            if rival.ranked and rival.annotations == row.annotations
            if (figure := rival.cell(column)) is not None
        ]
        return row.ranked and len(rivals) > 1 and 0 < max(rivals) == row.cell(column)


def run_row(scores: Scores, label: str | None = None) -> Row:
    """A scored run as a row; its average is given only where all of Table 1's tasks were run."""
    complete = set(scores.tasks) >= {spec.key for spec in load_tasks()}
    return Row(
        label=label or scores.model,
        accuracy={key: task.at_50 for key, task in scores.tasks.items()},
        average=scores.macro.at_50 if complete else None,
        annotations=scores.annotations.label,
    )


def published_sections() -> Iterable[Section]:
    """The rows of Tables 1 and 11, by their printed sections; chain-of-thought rows say so."""
    rows: dict[str, PublishedRow] = {}
    for name in ("table1", "table11"):
        for row in load_table(name).rows:
            rows.setdefault(row.model, row)
    for heading in dict.fromkeys(row.section for row in rows.values()):
        chosen = [row for row in rows.values() if row.section == heading]
        yield Section(f"Published: {heading}", tuple(map(_published_row, chosen)))


def _published_row(row: PublishedRow) -> Row:
    return Row(
        label=row.model,
        accuracy=dict(row.accuracy),
        average=row.average,
        annotations=load_table("table1").annotations,
        ranked=row.section != "Human",
        sampled=row.sampled,
    )


def run_notes(scored: Iterable[tuple[str, Scores]]) -> Iterable[str]:
    """What must stand under a table: how each run was made and scored."""
    for label, scores in scored:
        errors = scores.model_errors
        accepted = f"; {errors} model errors counted as misses" if errors else ""
        if errors and not scores.accepted_model_errors:
            accepted = f"; INCOMPLETE: {errors} targets without an answer"
        yield (
            f"{label}: protocol {scores.protocol}, annotations {scores.annotations.label}, "
            f"corrections {scores.corrections}, {scores.evaluator}, {scores.strategy}, "
            f"prompts {scores.prompts}{accepted}"
        )


PUBLISHED_NOTES = (
    "Published: Tables 1 and 11 of the Migician paper, on the original annotations, as printed.",
    "† measured on a random 20 % of the task.",
)


def text(table: Table) -> str:
    """For a terminal; the best of comparable figures is marked with ``*``."""
    specs = load_tasks()
    lines = [["Model", *(spec.column for spec in specs), AVERAGE]]
    for section in table.sections:
        lines.append([section.heading])
        lines += [["  " + row.label, *_cells(table, row, "*{}".format)] for row in section.rows]
    widths = _widths(lines, specs)
    header, *body = (_aligned(line, widths) for line in lines)
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*_group_lines(widths, specs), header, rule, *body, "", *table.notes])


Level = Callable[[TaskSpec], str]
LEVELS: tuple[Level, ...] = (lambda spec: spec.group, lambda spec: spec.subgroup)
"""Table 1's two lines of group names above the columns."""


def _widths(lines: Sequence[Sequence[str]], specs: Sequence[TaskSpec]) -> list[int]:
    """Column widths: room for every cell, and for the name of a group of one column."""
    columns = zip(*(line for line in lines if len(line) > 1), strict=True)
    widths = [max(map(len, column)) for column in columns]
    first = 1
    for name, count in _groups(specs, LEVELS[-1]):
        if count == 1:
            widths[first] = max(widths[first], len(name))
        first += count
    return widths


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    if len(line) == 1:
        return line[0]
    label, *cells = line
    padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
    return "  ".join([label.ljust(widths[0]), *padded])


def _group_lines(widths: Sequence[int], specs: Sequence[TaskSpec]) -> Iterable[str]:
    """The group names, each centred over its columns between dashes."""
    for level in LEVELS:
        cells = [" " * widths[0]]
        first = 1
        for name, count in _groups(specs, level):
            room = sum(widths[first : first + count]) + 2 * (count - 1)
            cells.append(
                (f" {name} " if count > 1 else name).center(room, "-" if count > 1 else " ")
            )
            first += count
        yield "  ".join(cells).rstrip()


def _groups(specs: Sequence[TaskSpec], level: Level) -> list[tuple[str, int]]:
    """Neighbouring tasks of one group: its name, and how many they are."""
    return [(name, len(list(members))) for name, members in groupby(specs, level)]


def markdown(table: Table) -> str:
    """A pipe table; the best of comparable figures is bold."""
    header = ["Model", *(spec.column for spec in load_tasks()), AVERAGE]
    body: list[list[str]] = []
    for section in table.sections:
        body.append([f"*{section.heading}*", *[""] * (len(header) - 1)])
        body += [[row.label, *_cells(table, row, "**{}**".format)] for row in section.rows]
    align = ["left", *["right"] * (len(header) - 1)]
    lines = tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True)
    return "\n\n".join([lines, *table.notes])


def latex(table: Table) -> str:
    """A booktabs table with Table 1's group headings; the best of comparable figures is bold."""
    specs = load_tasks()
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(specs) + 1)}}}", r"\toprule"]
    for level in LEVELS:
        cells = [
            rf"\multicolumn{{{count}}}{{c}}{{{_escape(name)}}}"
            for name, count in _groups(specs, level)
        ]
        lines.append(" & ".join(["", *cells, ""]) + r" \\")
    names = ["Models", *(_escape(spec.column) for spec in specs), AVERAGE]
    lines.append(" & ".join(names) + r" \\")
    for section in table.sections:
        span = len(specs) + 2
        lines += [r"\midrule", rf"\multicolumn{{{span}}}{{l}}{{{_escape(section.heading)}}} \\"]
        for row in section.rows:
            figures = map(_dagger, _cells(table, row, r"\textbf{{{}}}".format))
            lines.append(" & ".join([_escape(row.label), *figures]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {note}" for note in table.notes)])


def comma_separated(table: Table) -> str:
    """CSV with a header; figures unmarked, at full precision."""
    specs = load_tasks()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["section", "model", "annotations", *(spec.key for spec in specs), "average"])
    for section in table.sections:
        for row in section.rows:
            figures = [row.cell(column) for column in _columns()]
            cells = ["" if figure is None else repr(figure) for figure in figures]
            writer.writerow([section.heading, row.label, row.annotations, *cells])
    return buffer.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}


def _columns() -> list[str]:
    return [*(spec.key for spec in load_tasks()), AVERAGE]


def _cells(table: Table, row: Row, mark: Callable[[str], str]) -> Iterable[str]:
    for column in _columns():
        figure = row.cell(column)
        if figure is None:
            yield "–"
            continue
        shown = f"{figure:.2f}"
        marked = mark(shown) if table.best(row, column) else shown
        yield marked + ("†" if column in row.sampled else "")


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def _dagger(cell: str) -> str:
    return cell.replace("†", r"\textsuperscript{\dag}").replace("–", "--")


OUTCOME_COLUMNS = {
    Outcome.HIT: "hit",
    Outcome.MISS: "miss",
    Outcome.MISSING: "missing",
    Outcome.UNREADABLE: "unread.",
    Outcome.REFUSED: "refused",
    Outcome.TRUNCATED: "trunc.",
    Outcome.MODEL_ERROR: "error",
}


def scores_table(scores: Scores) -> str:
    """One run's figures: accuracies, mean IoU and what became of the targets, task by task."""
    columns = {spec.key: spec.column for spec in load_tasks()}
    header = ["Task", "n", "Acc@0.3", "Acc@0.5", "Acc@0.7", "mIoU", *OUTCOME_COLUMNS.values()]
    body = []
    for name, score in [*scores.tasks.items(), ("macro", scores.macro)]:
        figures = [_figure(score.at_30), _figure(score.at_50), _figure(score.at_70)]
        mean = "–" if score.mean_iou is None else f"{score.mean_iou:.4f}"
        counts = [str(score.outcomes[outcome] or "") for outcome in OUTCOME_COLUMNS]
        label = columns.get(name, f"macro ({scores.macro.tasks})")
        body.append([label, str(score.n), *figures, mean, *counts])
    align = ["left", *["right"] * (len(header) - 1)]
    return tabulate(body, header, tablefmt="simple", colalign=align, disable_numparse=True)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
