"""``migbench tasks``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.options import json_option
from migbench.cli.output import write_result
from migbench.cli.terminal import echo, terminal_width
from migbench.tasks import load_tasks, tasks_folder
from migbench.util.plain_table import plain_table


@click.command("tasks")
@click.option("--path", is_flag=True, help="Print the folder of the task files, nothing else.")
@json_option
def command(path: bool, json_file: Path | None) -> None:
    """List the tasks, in the order of Table 1."""
    if path:
        echo(tasks_folder())
        return
    write_result(json_file, load_tasks())
    if str(json_file) == "-":
        return
    rows = [
        [
            spec.key,
            spec.column,
            spec.title,
            f"{spec.group}, {spec.subgroup}",
            *(spec.instances.get(version, "–") for version in ("original", "revised")),
        ]
        for spec in load_tasks()
    ]
    header = ["Task", "Column", "Title", "Group", "Original", "Revised"]
    echo(plain_table(rows, header, numbers=True, width=terminal_width()))
