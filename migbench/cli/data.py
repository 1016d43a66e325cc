"""``migbench data``."""

from __future__ import annotations

import click


@click.group("data")
def command() -> None:
    """Check, describe, download or render the data set."""
