"""``migbench models``."""

from __future__ import annotations

import click
from tabulate import tabulate

from migbench.adapters import adapter_names
from migbench.dialects import load_dialects
from migbench.models import load_profiles


@click.command("models")
@click.option("--notes", is_flag=True, help="Add each profile's source and notes.")
def command(notes: bool) -> None:
    """List the profiles, adapters and dialects that --model, --adapter and --dialect take."""
    profiles = load_profiles().values()
    rows = [
        [each.name, each.adapter, each.dialect, each.checkpoint or "–", each.status]
        for each in profiles
    ]
    click.echo(tabulate(rows, ["Profile", "Adapter", "Dialect", "Checkpoint", "Status"]))
    click.echo(f"\nAdapters: {', '.join(adapter_names())}, or path/to/file.py:Class\n")
    dialects = [
        [each.name, str(each.convention), ", ".join(each.syntax), each.status, each.source]
        for each in load_dialects().values()
    ]
    click.echo(tabulate(dialects, ["Dialect", "Boxes", "Syntax", "Status", "Source"]))
    if notes:
        for each in profiles:
            click.echo(f"\n{each.name}: {each.title}\n  {each.source}")
            click.echo(f"  {each.notes}" if each.notes else "", nl=bool(each.notes))
