"""``migbench models``."""

from __future__ import annotations

import click

from migbench.cli.terminal import echo, echo_line
from migbench.dialects import load_dialects, undeclared_families
from migbench.models.adapters import adapter_names
from migbench.models.resolving import load_profiles
from migbench.util.plain_table import plain_table


@click.command("models")
@click.option("--notes", is_flag=True, help="Add each profile's source and notes.")
def command(notes: bool) -> None:
    """List the profiles, adapters and dialects that --model, --adapter and --dialect take."""
    profiles = load_profiles().values()
    rows = [
        [each.name, each.adapter, each.dialect, each.checkpoint or "–", each.status]
        for each in profiles
    ]
    echo(plain_table(rows, ["Profile", "Adapter", "Dialect", "Checkpoint", "Status"]))
    echo(f"\nAdapters: {', '.join(adapter_names())}, or path/to/file.py:Class\n")
    dialects = [
        [each.name, str(each.convention), ", ".join(each.syntax), each.status, each.source]
        for each in load_dialects().values()
    ]
    echo(plain_table(dialects, ["Dialect", "Boxes", "Syntax", "Status", "Source"]))
    for dialect in load_dialects().values():
        if dialect.unsupported:
            echo()
            echo_line(
                f"{dialect.name} is refused before a run: {dialect.title} {dialect.unsupported}"
            )
    echo("\nUndeclared, since nothing is published about their boxes (where it was looked for):")
    for family in undeclared_families():
        echo_line(f"  {family.title}: {family.searched}")
    if notes:
        for each in profiles:
            echo()
            echo_line(f"{each.name}: {each.title}")
            for line in filter(None, (each.source, each.notes)):
                echo_line(f"  {line}")
