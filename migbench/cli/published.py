"""``migbench published``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.options import json_option
from migbench.cli.output import write_result
from migbench.published import load_table, load_tables, table_names
from migbench.published.audit import audit
from migbench.tables import as_printed, audit_report, published_list


@click.group("published")
def command() -> None:
    """Look at the published tables, and audit them."""


@command.command("list")
@json_option
def list_command(json_file: Path | None) -> None:
    """List the published tables that are kept as data."""
    tables = load_tables()
    if str(json_file) != "-":
        click.echo(published_list(tables))
    write_result(json_file, tables)


@command.command("show")
@click.argument("name")
@json_option
def show_command(name: str, json_file: Path | None) -> None:
    """Print the published table NAME as it is printed.

    A question mark stands behind every figure that the audit has found something about.

    \b
    Example:
      migbench published show table1
    """
    table = load_table(name)
    if str(json_file) != "-":
        click.echo(as_printed(table, audit(load_tables())))
    write_result(json_file, table)


@command.command("audit")
@click.argument("names", nargs=-1)
@json_option
def audit_command(names: tuple[str, ...], json_file: Path | None) -> None:
    """Recompute the published tables (all, or NAMES), and print what cannot be or does not follow.

    Accuracies are held against the number of targets, averages against their cells, rows against
    other tables that print them.

    \b
    Examples:
      migbench published audit
      migbench published audit table2 table4
    """
    titles = {load_table(name).title for name in names or table_names()}
    findings = [each for each in audit(load_tables()) if titles.intersection(each.tables)]
    if str(json_file) != "-":
        click.echo(audit_report(findings) or "Nothing is amiss.")
    write_result(json_file, findings)
