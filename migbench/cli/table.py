"""``migbench table``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from migbench.cli.options import (
    ExistingFolder,
    difficulty_option,
    interval_options,
    json_option,
    names_option,
    stored_run_options,
)
from migbench.cli.output import exit_status, write_result
from migbench.cli.terminal import echo, terminal_width
from migbench.errors import UsageError
from migbench.reporting import tables
from migbench.runs.store import Run
from migbench.scoring import HIT, METRICS
from migbench.scoring.scored_run import score_run

LEVELS = "table7"
"""The layout whose columns are levels of difficulty: those of a split that must be given."""


@click.command("table")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option(
    "--layout",
    type=click.Choice([*tables.LAYOUTS, LEVELS]),
    default="table1",
    show_default=True,
    help="Which of the paper's tables: all tasks (1; 11 is the same with the 70B rows alone), "
    "groups of tasks (5), difficulty (7, needs --difficulty), answering forms (10).",
)
@click.option(
    "--metric",
    type=click.Choice([*METRICS]),
    default=HIT,
    show_default=True,
    help="What the figures are.",
)
@click.option("--published", is_flag=True, help="Add the published rows of that table.")
@click.option(
    "--format",
    "markup",
    type=click.Choice([*tables.FORMATS]),
    default="text",
    show_default=True,
    help="How to write the table.",
)
@click.option(
    "--intervals",
    is_flag=True,
    help="Add both ends of each accuracy's 95 % interval.",
)
@click.option(
    "--standalone", is_flag=True, help="latex: a whole document, not what stands in a table*."
)
@names_option
@stored_run_options
@interval_options
@difficulty_option
@json_option
def command(
    runs: tuple[Path, ...],
    published: bool,
    layout: str,
    metric: str,
    markup: str,
    intervals: bool,
    standalone: bool,
    names: tuple[str, ...],
    seed: int,
    corrections: str,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Set RUNS in the layout of one of the paper's tables; with --difficulty, of Table 7 too.

    Figures are ranked only against figures on the same annotation file, and only those of runs that
    were asked everything: behind others' names stands how much they were ("[30 of 4,295]").

    \b
    Examples:
      migbench table results/migician results/guess --published --intervals --format markdown
      migbench table results/migician results/migician-all --layout table10 --published
      migbench table results/migician-all --layout table10 --metric image_accuracy
    """
    if layout == LEVELS and not options["difficulty"]:
        raise UsageError("--layout table7: which levels? (--difficulty SPLIT)")
    if published and metric != HIT:
        raise UsageError(f"--published: the published figures are {HIT}, not {metric}")
    if standalone and markup != "latex":
        raise UsageError("--standalone is for --format latex; leave it out, or add that")
    scored = [
        score_run(Run(run), corrections=corrections == "profile", **options).scores for run in runs
    ]
    write = partial(_written, markup=markup, standalone=standalone)
    if str(json_file) != "-":
        if layout != LEVELS:
            columns = tables.LAYOUTS[layout](metric=metric)
            table = tables.results_table(
                columns, runs, scored, published=published, intervals=intervals, names=names
            )
            echo(write(table))
        if options["difficulty"]:
            labels = [label for (label,) in tables.run_labels(runs, scored, names=names)]
            labelled = list(zip(labels, scored, strict=True))
            by_level = tables.level_table(
                labelled, published=published, intervals=intervals, metric=metric
            )
            levels = write(by_level)
            echo(levels if layout == LEVELS else "\n" + levels)
    write_result(json_file, dict(zip(map(str, runs), scored, strict=True)))
    return max(map(exit_status, scored))


def _written(table: tables.Table, markup: str, *, standalone: bool) -> str:
    """The table in a format; as text it fits the terminal."""
    if markup == "text":
        return tables.text(table, terminal_width())
    if standalone:
        return tables.latex(table, standalone=True)
    return tables.FORMATS[markup](table)
