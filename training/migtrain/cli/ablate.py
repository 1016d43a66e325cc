"""``migtrain ablate``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.terminal import echo
from migbench.errors import UsageError
from migtrain.cli.options import ExistingFolder, NewFolder


@click.command("ablate")
@click.argument("out", type=NewFolder)
@click.option(
    "--miniature", "start", type=ExistingFolder, help="Train miniatures from this checkpoint."
)
@click.option("--data", type=ExistingFolder, help="MIG-Mini's test split, to score them on.")
@click.option("--seeds", default="0,1,2", show_default=True, metavar="N,N,…")
@click.option(
    "--steps", type=click.IntRange(min=1), default=200, show_default=True, help="Of each training."
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of each training.",
)
@click.option("--seeds-at-once", type=click.IntRange(min=1), default=2, show_default=True)
def command(
    out: Path,
    start: Path | None,
    data: Path | None,
    seeds: str,
    steps: int,
    processes: int,
    seeds_at_once: int,
) -> int:
    """Write the data settings of the paper's Tables 6 and 9 into OUT as recipes.

    They are mixtures for `migtrain prepare`, and commands.sh, which trains and scores all of them.
    With --miniature they are trained at the miniature's scale at once, from what the recipe
    mini-vision leaves, and reported in the layout of the tables; the same command goes on.

    \b
    Examples:
      migtrain ablate ablations
      migtrain ablate WORK --miniature mini-vision/model --data MINI
    """
    if (start is None) != (data is None):
        raise UsageError("--miniature and --data go together")
    if start is None or data is None:
        return _write(out)
    from migtrain.miniature.ablations import AblationPlan, compare, report

    plan = AblationPlan(
        out.resolve(), start.resolve(), data.resolve(), steps, processes, seeds_at_once
    )
    echo(report(compare(plan, _whole_numbers(seeds), echo)))
    return 0


def _write(out: Path) -> int:
    from migtrain.recipe.ablations import COMMANDS, write_settings

    for setting in write_settings(out):
        for stage, mixture in enumerate(setting.mixtures, start=1):
            examples = f"{mixture.examples:,} examples" if mixture.examples else "all records, once"
            echo(f"{setting.row}, stage {stage}: {setting.mixture_file(stage)}, {examples}")
    echo(f"{out / COMMANDS}: trains and scores them; set DATA and MIG")
    return 0


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--seeds {text}: whole numbers with commas between them") from error
