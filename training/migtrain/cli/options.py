"""Kinds of options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
NewFolder = click.Path(path_type=Path, file_okay=False)
