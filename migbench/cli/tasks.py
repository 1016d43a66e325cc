"""``migbench tasks``."""

from __future__ import annotations

import click

from migbench.cli.terminal import echo
from migbench.tasks import load_tasks, tasks_folder
from migbench.util.plain_table import plain_table


@click.command("tasks")
@click.option("--path", is_flag=True, help="Print the folder of the task files, nothing else.")
def command(path: bool) -> None:
    """List the tasks, in the order of Table 1."""
    if path:
        echo(tasks_folder())
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
    echo(
        plain_table(rows, ["Task", "Column", "Title", "Group", "Original", "Revised"], numbers=True)
    )
