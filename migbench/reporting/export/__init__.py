"""Scored runs in other programs' formats: one module a format, each with one function ``write``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from migbench.data.images import ImageFolder
from migbench.errors import UsageError
from migbench.messages import Size
from migbench.scoring.scored_run import ScoredRun

__all__ = ["FORMATS", "Wishes", "write_export"]

FORMATS = {
    "coco": "a folder with COCO's instances and results",
    "fiftyone": "a folder that FiftyOne imports",
    "csv": "a table of targets",
    "parquet": "the same",
    "model-index": "the metrics of a model card",
}
"""What is written, by what it is called."""

_MODULES = {"csv": "rows", "parquet": "rows", "model-index": "model_index"}


@dataclass(frozen=True)
class Wishes:
    """What the formats leave open; see `migbench.cli.export`."""

    images: ImageFolder | None = None
    categories: Literal["task", "one"] = "task"
    unknown_size: Size | None = None
    copy_images: bool = False
    source_url: str | None = None
    partial: bool = False


def write_export(
    kind: str, scored: ScoredRun, out: Path, wishes: Wishes = Wishes()
) -> Sequence[str]:
    """Write a scored run in one of `FORMATS`; return lines that say what was written.

    A file that is there is replaced, a folder only where it is empty. Raises `UsageError` where
    that is not so, or where something is needed that is not there.
    """
    if _MODULES.get(kind) == "rows" and out.suffix != f".{kind}":
        raise UsageError(f"{out}: choose a name that ends in .{kind}")
    module = import_module(f"migbench.reporting.export.{_MODULES.get(kind, kind)}")
    lines: Sequence[str] = module.write(scored, out, wishes)
    return lines
