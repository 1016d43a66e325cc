"""``migbench models``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from migbench.cli.options import json_option
from migbench.cli.output import write_result
from migbench.cli.terminal import echo, echo_note, terminal_width
from migbench.dialects import Dialect, load_dialects, undeclared_families
from migbench.dialects.dialect import UndeclaredFamily
from migbench.models.adapters import adapter_names
from migbench.models.resolving import Profile, load_profiles
from migbench.util.plain_table import plain_table


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes."""

    profiles: Sequence[Profile]
    adapters: Sequence[str]
    dialects: Sequence[Dialect]
    undeclared: Sequence[UndeclaredFamily]
    """Families that have no dialect, since nothing is published about their boxes."""


@click.command("models")
@click.option("--notes", is_flag=True, help="Add each profile's source and notes.")
@json_option
def command(notes: bool, json_file: Path | None) -> None:
    """List the profiles, adapters and dialects that --model, --adapter and --dialect take."""
    known = Known(
        profiles=[*load_profiles().values()],
        adapters=adapter_names(),
        dialects=[*load_dialects().values()],
        undeclared=undeclared_families(),
    )
    if str(json_file) != "-":
        show(known)
        if notes:
            show_notes(known.profiles)
    write_result(json_file, known)


def show(known: Known) -> None:
    """Print profiles, adapters and dialects, then what there is no dialect for."""
    width = terminal_width()
    rows = [
        [each.name, each.adapter, each.dialect, each.checkpoint or "–", each.status]
        for each in known.profiles
    ]
    header = ["Profile", "Adapter", "Dialect", "Checkpoint", "Status"]
    echo(plain_table(rows, header, width=width))
    echo()
    echo_note(f"Adapters: {', '.join(known.adapters)}, or path/to/file.py:Class")
    echo()
    dialects = [
        [each.name, str(each.convention), ", ".join(each.syntax), each.status, each.source]
        for each in known.dialects
    ]
    header = ["Dialect", "Boxes", "Syntax", "Status", "Source"]
    echo(plain_table(dialects, header, width=width))
    for dialect in known.dialects:
        if dialect.unsupported:
            echo()
            echo_note(
                f"{dialect.name} is refused before a run: {dialect.title} {dialect.unsupported}"
            )
    echo()
    echo_note("Undeclared, since nothing is published about their boxes (where it was looked for):")
    for family in known.undeclared:
        echo_note(f"  {family.title}: {family.searched}")


def show_notes(profiles: Sequence[Profile]) -> None:
    """Print each profile's source and notes."""
    for each in profiles:
        echo()
        echo_note(f"{each.name}: {each.title}")
        for line in filter(None, (each.source, each.notes)):
            echo_note(f"  {line}")
