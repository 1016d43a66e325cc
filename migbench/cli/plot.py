"""``migbench plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migbench.cli.options import (
    ExistingFolder,
    difficulty_option,
    interval_options,
    names_option,
    stored_run_options,
)
from migbench.cli.output import exit_status
from migbench.cli.terminal import echo, echo_line
from migbench.errors import UsageError
from migbench.reporting.plots import KINDS, WITH_PUBLISHED, write_plot
from migbench.reporting.plots.subjects import make_plot
from migbench.runs.store import Run
from migbench.scoring import Bootstrap
from migbench.scoring.scored_run import score_run


@click.command("plot")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option(
    "--kind",
    type=click.Choice([*KINDS]),
    required=True,
    help="; ".join(f"{name}: {about}" for name, about in KINDS.items()) + ".",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write, replaced if it is there: .svg, .png or .pdf.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Add the published row of each run's model in the same form (radar, tasks).",
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="NAME",
    help="Add this published row, e.g. Qwen2-VL-72B (radar, tasks; repeatable).",
)
@click.option(
    "--width",
    type=click.FloatRange(2.5, 20),
    help="Width in inches, if not a column's or, for wide kinds, the page's; text stays as it is.",
)
@names_option
@stored_run_options
@interval_options
@difficulty_option
def command(
    runs: tuple[Path, ...],
    kind: str,
    out: Path,
    published: bool,
    rows: tuple[str, ...],
    width: float | None,
    names: tuple[str, ...],
    corrections: str,
    bootstrap: Bootstrap | None,
    seed: int,
    **options: Any,
) -> int:
    """Draw RUNS, up to five on one annotation file, and print the figure's caption.

    \b
    Examples:
      migbench plot results/migician --kind tasks --published --out tasks.pdf
      migbench plot results/migician results/migician-all --kind forms --out forms.svg
    """
    if (published or rows) and kind not in WITH_PUBLISHED:
        raise UsageError(
            f"--kind {kind} shows no published figures; {' and '.join(WITH_PUBLISHED)} do"
        )
    options |= {"corrections": corrections == "profile", "bootstrap": bootstrap}
    scored = [score_run(Run(run), **options) for run in runs]
    plot = make_plot(
        runs,
        scored,
        own_rows=published,
        rows=rows,
        width=width,
        bootstrap=bootstrap,
        seed=seed,
        names=names,
    )
    caption = write_plot(kind, plot, out)
    echo_line(out)
    echo()
    for line in caption:
        echo_line(line)
    return max(exit_status(run.scores) for run in scored)
