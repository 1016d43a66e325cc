"""Published results as data: what the papers print, with where it stands.

One YAML file beside this module is one printed table of the MIG-Bench paper, or `later`, results on
MIG-Bench published since. Figures are kept exactly as printed, even where they cannot be right;
checking them is the job of `migbench.reporting.published.audit`. Another table needs another file
and no code.

Figures are keyed by column: the task names of the annotation files, where they are Acc@0.5 in
percent, or what else a table is divided by. Rows on different annotation versions
(`PublishedTable.annotations`) must never be ranked together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from migbench.errors import DataError, UsageError
from migbench.util.suggestions import did_you_mean

__all__ = [
    "DECIMALS",
    "PublishedRow",
    "PublishedTable",
    "Source",
    "load_table",
    "load_tables",
    "read_table",
    "table_names",
]

DECIMALS = 2
"""Of printed figures, where nothing else is said."""

Figure = Annotated[float, Meta(ge=0)]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a table is printed: the paper's title, its reference, and the table's number there."""

    title: str
    reference: str
    table: int | None = None


class PublishedRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed row.

    ``model`` is the name as printed in front, a chain-of-thought subscript written ``+CoT`` (so
    ``Qwen2-VL-7B+CoT``). ``section`` is the printed group (``Human``, ``70B-Scale``, ``7B-Scale``)
    and ``setting`` the printed setting, each empty where the table has none. ``figures`` goes by
    column, in printed order, None for a dash; ``average`` is the AVE as printed, in percent.
    ``changes`` are the differences, in points, that stand in parentheses. ``decimals`` names the
    columns that are printed with other decimals than the table's. ``sampled`` names the columns
    whose figure is marked with an asterisk: measured on a random 20 % of the examples.
    ``corrections`` says in words how boxes are known to have been changed before scoring; empty
    means that nothing is known of any. ``times`` is how often the same row is printed.
    """

    model: str
    section: str = ""
    setting: str = ""
    strategy: Literal["direct", "cot", "mcot"] = "direct"
    evaluator: Literal["polling", "all-at-once"] = "polling"
    figures: Mapping[str, Figure | None]
    average: Figure | None = None
    changes: Mapping[str, float] = {}
    decimals: Mapping[str, int] = {}
    sampled: tuple[str, ...] = ()
    corrections: str = ""
    times: int = 1

    @property
    def label(self) -> str:
        """Model and setting."""
        return ", ".join(filter(None, (self.model, self.setting)))


class PublishedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed table.

    ``name`` is the file's name without its ending. ``annotations`` is the version of the annotation
    file that the rows were scored on, None where none was. ``columns`` are the columns' keys in
    printed order, without the average, and every row has exactly these: tasks, groups of tasks or
    levels of difficulty of MIG-Bench, other benchmarks, or shares of a whole. ``points`` are those
    that are not in percent, ``decimals`` the printed ones where they are not two. ``counts`` are
    the instances in each column, where printed. ``changes_from`` is the row that the rows'
    ``changes`` are against. ``remark`` is what a reader must know to understand the figures; it
    stands below them.
    """

    name: str
    source: Source
    annotations: Literal["original", "revised"] | None = None
    caption: str = ""
    remark: str = ""
    divided_by: Literal["task", "group", "level", "benchmark", "share"] = "task"
    columns: tuple[str, ...]
    points: tuple[str, ...] = ()
    decimals: Mapping[str, int] = {}
    counts: Mapping[str, int] = {}
    changes_from: str = ""
    rows: tuple[PublishedRow, ...]

    @property
    def title(self) -> str:
        """How a reader would refer to it: ``Table 5``, or its name."""
        return f"Table {self.source.table}" if self.source.table else self.name

    def decimals_of(self, row: PublishedRow, column: str) -> int:
        """How many decimals a cell, or the average, is printed with."""
        return row.decimals.get(column, self.decimals.get(column, DECIMALS))

    def as_printed(self, row: PublishedRow, column: str) -> str:
        """A cell as printed: its decimals, its asterisk, or a dash."""
        figure = row.figures[column]
        if figure is None:
            return "—"
        return f"{figure:.{self.decimals_of(row, column)}f}{'*' * (column in row.sampled)}"

    def row(self, model: str, setting: str = "") -> PublishedRow:
        """The row of ``model`` as printed (and ``setting``, in tables that have settings).

        Raises `UsageError` when the table has no such row.
        """
        for row in self.rows:
            if (row.model, row.setting) == (model, setting):
                return row
        wanted = f"{model}, {setting}" if setting else model
        known = "; ".join(row.label for row in self.rows)
        raise UsageError(f"published {self.name} has no row {wanted!r}; its rows are: {known}")


def table_names() -> tuple[str, ...]:
    """The names of all published tables: numbered ones first, in the order of their numbers."""
    return tuple(sorted((file.stem for file in _folder().glob("*.yaml")), key=_reading_order))


def load_tables() -> tuple[PublishedTable, ...]:
    """All published tables, in the order of `table_names`. Raises `DataError`."""
    return tuple(load_table(name) for name in table_names())


@cache
def load_table(name: str) -> PublishedTable:
    """One published table by name, e.g. ``table1``.

    Raises `UsageError` for an unknown name, `DataError` for a malformed file.
    """
    if name not in table_names():
        raise UsageError(
            f"there is no published table {name!r}{did_you_mean(name, table_names())}; there are: "
            f"{', '.join(table_names())}"
        )
    return read_table(_folder() / f"{name}.yaml")


def read_table(file: Path) -> PublishedTable:
    """A table from a YAML file; its name is the file's.

    Raises `DataError`, naming the file, when it cannot be read, is not YAML, has unknown or missing
    keys, a percentage above 100, a row without exactly the table's columns, or a row twice.
    """
    from migbench.util.yaml_files import as_record, read_yaml

    content = read_yaml(file)
    if "name" in content:
        raise DataError(f"{file}: remove 'name'; a table has the name of its file")
    table = as_record({**content, "name": file.stem}, PublishedTable, file)
    _check_rows(table, file)
    return table


def _check_rows(table: PublishedTable, file: Path) -> None:
    if table.divided_by in ("task", "group", "level") and table.annotations is None:
        raise DataError(f"{file}: on which 'annotations' are these results, original or revised?")
    if table.counts and tuple(table.counts) != table.columns:
        raise DataError(f"{file}: 'counts' are not for {', '.join(table.columns)}, in this order")
    if table.changes_from and table.changes_from not in {row.model for row in table.rows}:
        raise DataError(f"{file}: 'changes_from' names no row: {table.changes_from}")
    seen: set[tuple[str, ...]] = set()
    for row in table.rows:
        where = f"{file}: row {row.label}"
        _check_columns(table, row, where)
        _check_percentages(table, row, where)
        name = (row.section, row.model, row.setting)
        if name in seen:
            raise DataError(f"{where}: stands twice; remove one")
        seen.add(name)


def _check_columns(table: PublishedTable, row: PublishedRow, where: str) -> None:
    if tuple(row.figures) != table.columns:
        raise DataError(
            f"{where}: figures are given for {', '.join(row.figures)}; "
            f"the table's columns are {', '.join(table.columns)}, in this order"
        )
    for field, named in (("sampled", row.sampled), ("changes", row.changes)):
        if stray := set(named) - set(table.columns):
            raise DataError(f"{where}: '{field}' names what is no column: {', '.join(stray)}")


def _check_percentages(table: PublishedTable, row: PublishedRow, where: str) -> None:
    percent = {
        column: row.figures[column] for column in table.columns if column not in table.points
    }
    for column, figure in {**percent, "average": row.average}.items():
        if figure is not None and not figure <= 100:
            raise DataError(f"{where}: {column} is {figure}, which is no percentage")


def _folder() -> Path:
    from importlib.resources import files

    return Path(str(files(__name__)))


def _reading_order(name: str) -> tuple[bool, int, str]:
    number = name.removeprefix("table")
    return (False, int(number), name) if number.isdecimal() else (True, 0, name)
