"""The log of a training: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migbench.errors import DataError

METRICS = "metrics.jsonl"


def append_metrics(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line, on disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines; a last one that was cut off is left out. Raises `DataError` for another."""
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{path}:{number}: is not JSON ({error})") from error
    return found


def rewind(path: Path, step: int) -> None:
    """Remove what was logged after a step: a resumed training goes through it again."""
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    partial.replace(path)
