"""``migbench merge``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.options import ExistingFolder, lock_option
from migbench.cli.terminal import echo, echo_line
from migbench.runs.answers_file import ANSWERS
from migbench.runs.manifest import read_manifest
from migbench.runs.merging import merge_runs


@click.command("merge")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to make.")
@lock_option
def command(runs: tuple[Path, ...], out: Path, without_lock: bool) -> int:
    """Join RUNS, all the shards of one run, into the run that they are parts of.

    \b
    Example, where every job of an array asked a third:
      migbench run --model migician --data MIG --shard 1/3 --out results/part1
      migbench merge results/part1 results/part2 results/part3 --out results/migician
    """
    merged = merge_runs(runs, out, without_lock=without_lock).manifest
    echo_line(f"{merged.answered} answers merged; next: migbench score {out}")
    if merged.status == "complete":
        return 0
    unfinished = [str(run) for run in runs if read_manifest(run).status != "complete"]
    echo(
        f"migbench: unfinished are {', '.join(unfinished)} ({merged.failed} failures)\n"
        f"the shards' command with --out {out} and without --shard asks only what is left; "
        f"the reasons stand in {out / ANSWERS}",
        err=True,
    )
    return 1
