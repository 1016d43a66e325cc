"""``migbench published``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migbench.cli.options import (
    ExistingFolder,
    interval_options,
    json_option,
    stored_run_options,
)
from migbench.cli.output import exit_status, write_result
from migbench.cli.terminal import echo, echo_line
from migbench.reporting.published import load_table, load_tables, table_names
from migbench.reporting.published.audit import audit
from migbench.reporting.published.reproduction import set_beside
from migbench.reporting.tables import (
    as_printed,
    audit_report,
    interval_note,
    published_list,
    reproduction_table,
    run_label,
    run_notes,
)
from migbench.runs.store import Run
from migbench.scoring.scored_run import score_run


@click.group("published")
def command() -> None:
    """Look at the published tables, and audit them."""


@command.command("list")
@json_option
def list_command(json_file: Path | None) -> None:
    """List the published tables that are kept as data."""
    tables = load_tables()
    if str(json_file) != "-":
        echo(published_list(tables))
    write_result(json_file, tables)


@command.command("show")
@click.argument("name")
@click.option(
    "--run",
    "folder",
    type=ExistingFolder,
    help="Set this run beside its published row: does that lie in the run's intervals?",
)
@click.option("--row", help="Which row, if not that of the run's profile.")
@stored_run_options
@interval_options
@json_option
def show_command(
    name: str,
    folder: Path | None,
    row: str | None,
    corrections: str,
    seed: int,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Print the published table NAME, or a row of it beside a run.

    A question mark stands behind every figure that the audit has found something about. Options
    of scoring are for --run. A run is refused where it is on other annotations than the table.

    \b
    Examples:
      migbench published show table1
      migbench published show table1 --run results/migician --protocol released
    """
    table = load_table(name)
    if folder is None:
        if str(json_file) != "-":
            echo(as_printed(table, audit(load_tables())))
        write_result(json_file, table)
        return 0
    scores = score_run(Run(folder), corrections=corrections == "profile", **options).scores
    reproduction = set_beside(table, scores, row)
    if str(json_file) != "-":
        echo(reproduction_table(reproduction))
        echo(f"\n{interval_note(scores.bootstrap)}")
        for note in run_notes([(run_label(scores), scores)]):
            echo_line(note)
    write_result(json_file, reproduction)
    return exit_status(scores)


@command.command("audit")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def audit_command(names: tuple[str, ...], json_file: Path | None) -> None:
    """Recompute the published tables, and print what is amiss.

    All tables are looked at, or those of these names. Accuracies are held against the number of
    targets, averages against their cells, rows against other tables that print them.

    \b
    Examples:
      migbench published audit
      migbench published audit table2 table4
    """
    titles = {load_table(name).title for name in names or table_names()}
    findings = [each for each in audit(load_tables()) if titles.intersection(each.tables)]
    if str(json_file) != "-":
        echo(audit_report(findings) or "Nothing is amiss.")
    write_result(json_file, findings)
