"""``migbench score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migbench.cli.options import (
    ExistingFolder,
    difficulty_option,
    interval_options,
    json_option,
    stored_run_options,
)
from migbench.cli.output import exit_status, show_scores, write_result
from migbench.reporting.instance_table import write_instances
from migbench.runs.store import Run
from migbench.scoring.scored_run import score_run


@click.command("score")
@click.argument("run", type=ExistingFolder)
@stored_run_options
@interval_options
@difficulty_option
@json_option
@click.option(
    "--instances",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one row a target to this .parquet, .csv or .jsonl file.",
)
def command(
    run: Path,
    corrections: str,
    seed: int,
    json_file: Path | None,
    instances: Path | None,
    **options: Any,
) -> int:
    """Score a stored RUN; no model is needed. Every accuracy has a 95 % interval.

    \b
    Example:
      migbench score results/migician --protocol released --json scores.json
    """
    scored = score_run(Run(run), corrections=corrections == "profile", **options)
    if str(json_file) != "-":
        show_scores(scored.scores)
    write_result(json_file, scored.scores)
    if instances:
        write_instances(instances, scored)
    return exit_status(scored.scores)
