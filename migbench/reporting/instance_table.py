"""One row per target, for whoever wants to look closer: Parquet, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from migbench.boxes import Box
from migbench.errors import UsageError
from migbench.runs.answer_lines import AnswerLine, Lines
from migbench.scoring import SampleScore
from migbench.scoring.scored_run import ScoredRun
from migbench.util import escaping
from migbench.util.files import replaced

_ROW_GROUP = 5_000
"""Rows that are written at once."""

Row = dict[str, Any]
"""A value for each of `_COLUMNS`."""

_COLUMNS = {
    "id": "string",
    "index": "int64",
    "task": "string",
    "image_set": "string",
    "images": "string",
    "cluster": "int64",
    "target_image": "int64",
    **{f"{box}_{edge}": "float64" for box in ("truth", "box") for edge in Box._fields},
    "iou": "float64",
    "outcome": "string",
    "flags": "string",
    "named_image": "int64",
    "question": "string",
    "answer": "string",
    "earlier_answers": "string",
    "error": "string",
}
"""Every column with its type, which does not depend on what a run holds."""


def write_instances(path: Path, scored: ScoredRun) -> None:
    """Write one row a target; the ending of ``path`` decides the format.

    Boxes are in 0-1 of the target image, ``index`` is the place in the annotation file, image
    numbers count from 1, ``images`` is a JSON list. ``answer`` is the one that the box was read
    from, ``earlier_answers`` are those of the question's turns before it, as a JSON list. In CSV, a
    text that a spreadsheet would take for a formula stands behind an apostrophe, and so does one
    that begins with an apostrophe itself. ``docs/export.md`` has the columns. A file that is there
    is replaced. Raises `UsageError` for another ending, and for Parquet without pyarrow.
    """
    if path.suffix not in _WRITERS:
        raise UsageError(f"{path}: choose a name that ends in {' or '.join(_WRITERS)}")
    if path.suffix == ".parquet" and not has_parquet():
        raise UsageError(
            f"{path}: Parquet needs pyarrow: pip install 'migbench[parquet]'; .csv and .jsonl need "
            "nothing more"
        )
    with replaced(path) as partial:
        _WRITERS[path.suffix](partial, _row_groups(scored))


def _row_groups(scored: ScoredRun) -> Iterator[list[Row]]:
    clusters = scored.annotations.clusters
    samples = iter(scored.samples)
    while group := list(islice(samples, _ROW_GROUP)):
        yield [_row(each, clusters[each.instance.index], scored.run.lines) for each in group]


def _write_parquet(path: Path, groups: Iterable[Sequence[Row]]) -> None:
    import pyarrow
    import pyarrow.json
    import pyarrow.parquet

    schema = pyarrow.schema([*_COLUMNS.items()])
    # By way of JSON: building columns from Python objects makes pyarrow import pandas where there
    # is one, which takes as long as everything else together. JSON has no infinity, which a box
    # under the released protocol may reach, so numbers travel as texts.
    texts = pyarrow.schema([(name, "string") for name in _COLUMNS])
    encoder = msgspec.json.Encoder()
    # Opened here, since pyarrow takes no path that is not UTF-8.
    with path.open("wb") as sink, pyarrow.parquet.ParquetWriter(sink, schema) as file:
        for rows in groups:
            lines = encoder.encode_lines(
                {name: None if value is None else str(value) for name, value in row.items()}
                for row in rows
            )
            table = pyarrow.json.read_json(
                pyarrow.py_buffer(lines),
                # One block: no row, however long, may straddle two.
                read_options=pyarrow.json.ReadOptions(block_size=len(lines), use_threads=False),
                parse_options=pyarrow.json.ParseOptions(explicit_schema=texts),
            )
            file.write_table(table.cast(schema))


def _write_csv(path: Path, groups: Iterable[Sequence[Row]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # Lines end in CR LF, the module's default: with LF it would leave a CR in a text unquoted.
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for rows in groups:
            writer.writerows({name: _in_csv(value) for name, value in row.items()} for row in rows)


def _write_json_lines(path: Path, groups: Iterable[Sequence[Row]]) -> None:
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for rows in groups:
            file.write(encoder.encode_lines(_in_json(row) for row in rows))


def _in_json(row: Row) -> Row:
    """The row as JSON can say it: infinity, which the released protocol may reach, is a text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


CSV_DECIMALS = 9
"""Of numbers in CSV: none of them is known to so many, and 0.1 + 0.2 is 0.3."""


def _in_csv(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, CSV_DECIMALS)
    return escaping.csv(value) if isinstance(value, str) else value


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_json_lines}


def has_parquet() -> bool:
    """Whether pyarrow is installed, which writes Parquet."""
    return find_spec("pyarrow") is not None


def instances_file() -> str:
    """The name of a run's table of targets: Parquet, or CSV where nothing writes that."""
    return "instances.parquet" if has_parquet() else "instances.csv"


def _row(sample: SampleScore, cluster: int, lines: Lines) -> Row:
    instance, line = sample.instance, sample.line
    return {
        "id": instance.id,
        "index": instance.index,
        "task": instance.task,
        "image_set": instance.image_set,
        "images": json.dumps(instance.images, ensure_ascii=False),
        "cluster": cluster,
        "target_image": instance.target_image + 1,
        **_edges("truth", sample.truth),
        **_edges("box", sample.prediction.box),
        "iou": sample.iou,
        "outcome": sample.outcome.value,
        "flags": " ".join(flag.value for flag in sample.flags),
        "named_image": _from_one(sample.prediction.named_image),
        "question": instance.question,
        "answer": line.text if line else None,
        "earlier_answers": json.dumps(_earlier(line, lines), ensure_ascii=False),
        "error": line.error if line else "not asked yet",
    }


def _earlier(line: AnswerLine | None, lines: Lines) -> list[str | None]:
    if line is None:
        return []
    return [lines[line.question, turn].text for turn in range(line.turn)]


def _edges(name: str, box: Box | None) -> dict[str, float | None]:
    edges = box or (None, None, None, None)
    return {f"{name}_{edge}": value for edge, value in zip(Box._fields, edges, strict=True)}


def _from_one(image: int | None) -> int | None:
    return None if image is None else image + 1
