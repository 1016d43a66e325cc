"""``migtrain check``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from migbench.cli.terminal import echo
from migtrain.cli.options import ExistingFolder
from migtrain.records.checking import (
    InvalidRecord,
    RecordChecker,
    ValidationReport,
    check_files,
    find_record_files,
)
from migtrain.records.lengths import IMAGE_MAX_PIXELS, LengthCounter

SHOWN = 50
"""So many invalid records are printed one by one."""


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--images", type=ExistingFolder, help="Where image paths begin; else DATA's folder.")
@click.option(
    "--cutoff-len",
    type=click.IntRange(min=1),
    default=6000,
    show_default=True,
    help="Most tokens of a record: 6000 in stage 1, 8192 in stage 2.",
)
@click.option(
    "--image-max-pixels", type=click.IntRange(min=1), default=IMAGE_MAX_PIXELS, show_default=True
)
@click.option(
    "--model",
    metavar="FOLDER|HUB-ID",
    help="Count tokens by this checkpoint's tokenizer; else they are estimated.",
)
@click.option("--headers-only", is_flag=True, help="Read sizes of images alone, not their pixels.")
@click.option("--report", type=click.Path(path_type=Path), help="Write all invalid records here.")
def command(
    data: Path,
    images: Path | None,
    cutoff_len: int,
    image_max_pixels: int,
    model: str | None,
    headers_only: bool,
    report: Path | None,
) -> int:
    """Check the conversation records of DATA, a file or a folder, before they are trained on.

    LLaMA-Factory drops records with wrong turns, and trains on empty answers, malformed boxes and
    truncated records in silence. Here each is named, with its file, its place from 0 and the
    reason. Ends with status 2 where one is invalid.

    \b
    Examples:
      migtrain check DATA/MGrounding-630k/MGrounding-630k.json --images DATA
      migtrain check MINI --cutoff-len 8192 --model ./qwen2-vl --report invalid.jsonl
    """
    files, others = find_record_files(data)
    counter = (
        LengthCounter.of_checkpoint(model, image_max_pixels)
        if model
        else LengthCounter(image_max_pixels=image_max_pixels)
    )
    root = images or (data if data.is_dir() else data.parent)
    checker = RecordChecker(root, cutoff_len, counter, decode=not headers_only)
    found = check_files(files, checker)
    for path in others:
        echo(f"{path}: holds no conversation records, not checked")
    show_report(found, counter)
    if report is not None:
        write_report(report, found.invalid)
    return 2 if found.invalid else 0


def show_report(found: ValidationReport, counter: LengthCounter) -> None:
    """Print what a check has found, the invalid records first."""
    for each in found.invalid[:SHOWN]:
        echo(str(each), err=True)
    if len(found.invalid) > SHOWN:
        echo(f"and {len(found.invalid) - SHOWN:,} more (--report FILE has all)", err=True)
    for kind, count in sorted(found.kinds.items()):
        echo(f"{kind}: {count:,} valid")
    for error, count in found.errors.most_common():
        echo(f"invalid, {error}: {count:,}")
    how = "counted" if counter.exact else "estimated; --model counts them"
    echo(
        f"{found.valid:,} of {found.valid + len(found.invalid):,} records are valid; "
        f"the longest has {found.longest:,} tokens ({how})"
    )


def write_report(path: Path, invalid: list[InvalidRecord]) -> None:
    """Write all invalid records, one JSON object a line."""
    lines = [
        {
            "file": str(each.file),
            "index": each.index,
            "id": each.id,
            "error": each.kind,
            "detail": each.detail,
        }
        for each in invalid
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, "utf-8")
