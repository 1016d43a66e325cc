"""``migbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from migbench.cli.options import (
    ExistingFolder,
    interval_options,
    json_option,
    names_option,
    stored_run_options,
)
from migbench.cli.output import exit_status, write_result
from migbench.cli.terminal import echo, echo_line, echo_note, terminal_width
from migbench.errors import UsageError
from migbench.reporting.tables import (
    comparison_table,
    costs_table,
    interval_note,
    metric_note,
    run_labels,
    run_notes,
)
from migbench.runs.store import Run
from migbench.scoring import HIT, SHARES, Bootstrap, Comparison, RunToCompare, Scores, compare
from migbench.scoring.scored_run import score_run
from migbench.scoring.usage import Usage, measured_usage


class ComparedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs, as it stands alone: its scores, and what they have cost."""

    label: str
    folder: str
    scores: Scores
    paid: Usage


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes: the runs, and every further one set against the first."""

    runs: list[ComparedRun]
    comparisons: list[Comparison]


@click.command("compare")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--metric",
    type=click.Choice([*SHARES]),
    default=HIT,
    show_default=True,
    help="By which to compare.",
)
@names_option
@stored_run_options
@interval_options
@json_option
def command(
    runs: tuple[Path, ...],
    metric: str,
    names: tuple[str, ...],
    corrections: str,
    bootstrap: Bootstrap | None,
    seed: int,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Set runs side by side, target by target: each further RUN against the first.

    Model, evaluator and strategy may differ; the annotation file must be the same.

    \b
    Example:
      migbench compare results/migician results/migician-all-at-once
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs, or more")
    options |= {"corrections": corrections == "profile", "bootstrap": bootstrap}
    scored = [score_run(Run(run), **options) for run in runs]
    scores = [run.scores for run in scored]
    labels = [label for (label,) in run_labels(runs, scores, names=names)]
    sides = [
        RunToCompare(label, run.scores, run.samples, run.annotations.cluster_of)
        for label, run in zip(labels, scored, strict=True)
    ]
    report = Report(
        runs=[
            ComparedRun(
                label=label, folder=str(folder), scores=run.scores, paid=measured_usage(run)
            )
            for label, folder, run in zip(labels, runs, scored, strict=True)
        ],
        comparisons=[
            compare(sides[0], side, bootstrap=bootstrap, seed=seed, metric=metric)
            for side in sides[1:]
        ],
    )
    if str(json_file) != "-":
        show(report)
    write_result(json_file, report)
    return max(exit_status(run.scores) for run in report.runs)


def show(report: Report) -> None:
    """Print every comparison, then what the runs have cost, then how they were made."""
    metric = report.comparisons[0].metric
    width = terminal_width()
    for comparison in report.comparisons:
        echo_line(f"{comparison.second} against {comparison.first}")
        echo(comparison_table(comparison, width) + "\n")
        if comparison.only_first or comparison.only_second:
            echo_note(
                f"Left out: {comparison.only_first} targets that only {comparison.first} was asked "
                f"for, {comparison.only_second} that only {comparison.second} was. Costs below are "
                "those of the whole runs."
            )
            echo()
    echo(costs_table(((run.label, run.scores, run.paid) for run in report.runs), width))
    echo()
    echo_note(
        f"{metric_note(metric)}, differences in points; wins are hits that only the second run has."
    )
    if SHARES[metric].partial:
        echo_note("Compared are the targets that count for it in both runs.")
    echo_note(interval_note(report.comparisons[0].bootstrap))
    echo_note(
        "p: sign-flip permutation test over clusters; Holm: corrected for the number of tasks."
    )
    echo_note("MDE: minimum detectable effect, found with 80 % power at the 5 % level.")
    for note in run_notes((run.label, run.scores) for run in report.runs):
        echo_note(note)
