"""Published MIG-Bench results as data: what the papers print, with where it stands.

One YAML file beside this module is one printed table of the MIG-Bench paper, or `later`, results
published since. Figures are kept exactly as printed, even where they cannot be right; checking them
is not this module's job. Another table needs another file and no code.

Accuracies are Acc@0.5 in percent, keyed by column: the task names of the annotation files, or what
else a table divides the instances by. Rows on different annotation versions
(`PublishedTable.annotations`) must never be ranked together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from migbench.errors import DataError, UsageError

__all__ = [
    "PublishedRow",
    "PublishedTable",
    "Source",
    "load_table",
    "load_tables",
    "read_table",
    "table_names",
]

Percent = Annotated[float, Meta(ge=0, le=100)]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a table is printed: the paper's title, its reference, and the table's number there."""

    title: str
    reference: str
    table: int | None = None


class PublishedRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed row.

    ``model`` is the name as printed, a chain-of-thought subscript written ``+CoT`` (so
    ``Qwen2-VL-7B+CoT``). ``section`` is the printed group (``Human``, ``70B-Scale``, ``7B-Scale``)
    and ``setting`` the printed setting, each empty where the table has none. ``accuracy`` holds
    Acc@0.5 in percent by column, in printed order; ``average`` is the AVE as printed, in percent.
    ``sampled`` names the columns whose figure is marked with an asterisk: measured on a random 20 %
    of the examples. ``corrections`` says in words how boxes are known to have been changed before
    scoring; empty means that nothing is known of any.
    """

    model: str
    section: str = ""
    setting: str = ""
    strategy: Literal["direct", "cot", "mcot"] = "direct"
    evaluator: Literal["polling", "all_at_once"] = "polling"
    accuracy: Mapping[str, Percent]
    average: Percent | None = None
    sampled: tuple[str, ...] = ()
    corrections: str = ""


class PublishedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One printed table.

    ``name`` is the file's name without its ending. ``annotations`` is the version of the annotation
    file that the rows were scored on. ``columns`` are the columns' keys in printed order, without
    the average, and every row has exactly these; they divide the instances by task, group of tasks
    or level of difficulty. ``counts`` are the instances in each, where printed. ``remark`` is what
    a reader must know to understand the figures; it stands below them.
    """

    name: str
    source: Source
    annotations: Literal["original", "revised"]
    caption: str = ""
    remark: str = ""
    divided_by: Literal["task", "group", "level"] = "task"
    columns: tuple[str, ...]
    counts: Mapping[str, int] = {}
    rows: tuple[PublishedRow, ...]

    def row(self, model: str, setting: str = "") -> PublishedRow:
        """The row of ``model`` as printed (and ``setting``, in tables that have settings).

        Raises `UsageError` when the table has no such row.
        """
        for row in self.rows:
            if (row.model, row.setting) == (model, setting):
                return row
        wanted = f"{model}, {setting}" if setting else model
        known = "; ".join(", ".join(filter(None, (row.model, row.setting))) for row in self.rows)
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
            f"there is no published table {name!r}; there are: {', '.join(table_names())}"
        )
    return read_table(_folder() / f"{name}.yaml")


def read_table(file: Path) -> PublishedTable:
    """A table from a YAML file; its name is the file's.

    Raises `DataError`, naming the file, when it cannot be read, is not YAML, has unknown or missing
    keys, a figure outside 0-100, a row without exactly the table's columns, or a row twice.
    """
    from migbench.yaml_files import as_record, read_yaml

    content = read_yaml(file)
    if "name" in content:
        raise DataError(f"{file}: remove 'name'; a table has the name of its file")
    table = as_record({**content, "name": file.stem}, PublishedTable, file)
    _check_rows(table, file)
    return table


def _check_rows(table: PublishedTable, file: Path) -> None:
    if table.counts and tuple(table.counts) != table.columns:
        raise DataError(f"{file}: 'counts' are not for {', '.join(table.columns)}, in this order")
    seen: set[tuple[str, str]] = set()
    for row in table.rows:
        where = f"{file}: row {', '.join(filter(None, (row.model, row.setting)))}"
        if tuple(row.accuracy) != table.columns:
            raise DataError(
                f"{where}: accuracies are given for {', '.join(row.accuracy)}; "
                f"the table's columns are {', '.join(table.columns)}, in this order"
            )
        if stray := set(row.sampled) - set(table.columns):
            raise DataError(f"{where}: 'sampled' names what is no column: {', '.join(stray)}")
        if (row.model, row.setting) in seen:
            raise DataError(f"{where}: stands twice; remove one")
        seen.add((row.model, row.setting))


def _folder() -> Path:
    from importlib.resources import files

    return Path(str(files(__name__)))


def _reading_order(name: str) -> tuple[bool, int, str]:
    number = name.removeprefix("table")
    return (False, int(number), name) if number.isdecimal() else (True, 0, name)
