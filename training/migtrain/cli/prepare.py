"""``migtrain prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.terminal import echo
from migtrain.cli.check import show_report, write_report
from migtrain.cli.options import ExistingFolder, NewFolder
from migtrain.recipe.mixtures import find_mixture
from migtrain.recipe.prepare import DATASET_INFO, prepare
from migtrain.recipe.stages import STAGES, read_stage
from migtrain.records.checking import RecordChecker
from migtrain.records.lengths import LengthCounter


@click.command("prepare")
@click.argument("data", type=ExistingFolder)
@click.option(
    "--stage", required=True, metavar="1|2|FILE", help="Whose cutoff_len and image_max_pixels."
)
@click.option("--out", type=NewFolder, required=True, help="The folder to write.")
@click.option(
    "--mixture",
    metavar="NAME|FILE",
    help="What is trained on: stage1, stage2 (Table 12; the default is the stage's), mini-stage1, "
    "mini-stage2, or a YAML file.",
)
@click.option("--examples", type=click.IntRange(min=1), help="Another number than the mixture's.")
@click.option("--cutoff-len", type=click.IntRange(min=1), help="Another than the stage's.")
@click.option(
    "--model",
    metavar="FOLDER|HUB-ID",
    help="Count tokens by this checkpoint's tokenizer; else they are estimated.",
)
@click.option("--leave-out-invalid", is_flag=True, help="Write the valid records alone.")
@click.option("--headers-only", is_flag=True, help="Read sizes of images alone, not their pixels.")
@click.option("--report", type=click.Path(path_type=Path), help="Write all invalid records here.")
def command(
    data: Path,
    stage: str,
    out: Path,
    mixture: str | None,
    examples: int | None,
    cutoff_len: int | None,
    model: str | None,
    leave_out_invalid: bool,
    headers_only: bool,
    report: Path | None,
) -> int:
    """Write the records below DATA as LLaMA-Factory reads them, in the shares of Table 12.

    Every record is checked (see `migtrain check`); with an invalid one nothing is written, unless
    they are to be left out.

    \b
    Examples:
      migtrain prepare DATA --stage 1 --out stage1-data
      migtrain prepare MINI --stage 2 --mixture mini-stage2 --out mini-data
    """
    settings = read_stage(stage)
    pixels = int(settings["image_max_pixels"])
    counter = (
        LengthCounter.of_checkpoint(model, pixels)
        if model
        else LengthCounter(image_max_pixels=pixels)
    )
    cutoff = cutoff_len or int(settings["cutoff_len"])
    checker = RecordChecker(data, cutoff, counter, decode=not headers_only)
    found, checked = prepare(
        find_mixture(mixture or STAGES.get(stage, stage)),
        checker,
        out,
        examples=examples,
        leave_out_invalid=leave_out_invalid,
    )
    show_report(checked, counter)
    if report is not None:
        write_report(report, checked.invalid)
    for name, source in found.sources.items():
        echo(
            f"{name}: {source.samples:,} examples of {source.records:,} records, "
            f"{source.epochs:.2f} epochs"
        )
    for kind, count in sorted(found.left_out.items()):
        echo(f"{kind}: {count:,} records in no source of the mixture")
    echo(
        f"{out / DATASET_INFO}: {found.examples:,} examples; next: migtrain run {stage} "
        f"--data {out} --model CHECKPOINT --out TRAINING"
    )
    return 0
