"""``migbench difficulty``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migbench.cli.options import ExistingFolder, data_of_run_options, protocol_options
from migbench.cli.output import write_result
from migbench.cli.terminal import echo, echo_line
from migbench.runs.store import Run
from migbench.scoring import DifficultySplit, Level
from migbench.scoring.baselines import make_split
from migbench.scoring.difficulty import LITERAL, RULES
from migbench.scoring.scored_run import score_run
from migbench.util.plain_table import plain_table


@click.group("difficulty")
def command() -> None:
    """Split the instances into easy, medium and hard, by the rule of the paper's section 7.3."""


@command.command("make")
@click.option(
    "--runs",
    nargs=4,
    type=ExistingFolder,
    required=True,
    metavar="A A+COT B B+COT",
    help="Complete runs of two models: each directly, then by chain of thought.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The split's file to write."
)
@click.option(
    "--rule",
    type=click.Choice([*RULES]),
    default=LITERAL.name,
    show_default=True,
    help="How to take the rule's wording; docs/difficulty.md tells them apart.",
)
@protocol_options
@data_of_run_options
def make(runs: tuple[Path, ...], out: Path, rule: str, corrections: str, **options: Any) -> int:
    """Make a split from four baseline runs.

    It is for --difficulty of score, table and run, and not the authors' own split, which was not
    published.

    \b
    Example:
      migbench difficulty make --runs results/qwen results/qwen-cot \\
        results/internvl results/internvl-cot --out split.json
    """
    scored = [score_run(Run(run), corrections=corrections == "profile", **options) for run in runs]
    splits = {each.name: make_split(scored, each) for each in RULES.values()}
    write_result(out, splits[rule])
    show_splits(splits, rule)
    echo_line(f"Split {splits[rule].hash}: {out}; next: migbench score RUN --difficulty {out}")
    return 0


def show_splits(splits: dict[str, DifficultySplit], chosen: str) -> None:
    """Print the chosen split's counts, and what the other ways to take the wording give."""
    split = splits[chosen]
    counts = ", ".join(f"{split.counts[level]} {level}" for level in Level)
    echo(f"{len(split.levels)} instances ({split.version} annotations): {counts}\n")
    header = ["Rule", *(level.capitalize() for level in Level), ""]
    rows = [
        [name, *(each.counts[level] for level in Level), each.rule.about]
        for name, each in splits.items()
    ]
    echo(plain_table(rows, header, numbers=True) + "\n")
