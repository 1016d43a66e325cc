"""``migbench verify``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from migbench.cli.options import ExistingFolder, data_of_run_options, json_option
from migbench.cli.output import write_result
from migbench.cli.terminal import echo_line
from migbench.data.images import Images
from migbench.provenance.findings import Finding, Weight
from migbench.provenance.verification import Verification, verify


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes."""

    folder: str
    run: str | None
    holds: bool
    complete: bool
    findings: list[Finding]


@click.command("verify")
@click.argument("run", type=ExistingFolder)
@data_of_run_options
@click.option(
    "--requests",
    is_flag=True,
    help="Make every request again, too, and compare: reads all images.",
)
@json_option
def command(
    run: Path,
    annotations: Path | None,
    images: Images,
    requests: bool,
    json_file: Path | None,
) -> int:
    """Tell whether a stored RUN is what was stored, and whether its scores come out again.

    Looked at are answers, manifest, annotation file, tasks, profile, dialect, adapter, checkpoint,
    scores and versions. Exit status: 0 all holds, 1 all holds but answers are wanting, 2 something
    was changed. Other versions of packages are a remark, and change no status.

    \b
    Example:
      migbench verify results/migician
    """
    verification = verify(run, annotations=annotations, images=images, requests=requests)
    scored = verification.scored
    report = Report(
        folder=str(run),
        run=scored.scores.run if scored else None,
        holds=verification.holds,
        complete=verification.complete,
        findings=verification.findings,
    )
    if str(json_file) != "-":
        show(verification)
    write_result(json_file, report)
    if not report.holds:
        return 2
    return 0 if report.complete else 1


def show(verification: Verification) -> None:
    """Print one line a finding, what weighs most first, and what it comes to."""
    for weight in Weight:
        for finding in verification.findings:
            if finding.weight is weight:
                echo_line(f"{weight.upper():<10}  {finding.message}")
    what = "something was CHANGED"
    if verification.holds:
        what = "all holds" if verification.complete else "nothing was changed, answers are wanting"
    echo_line(f"{verification.folder}: {what}{_scores(verification)}")


def _scores(verification: Verification) -> str:
    if verification.scored is None:
        return ""
    scores, targets = verification.scored.scores, len(verification.scored.judgements)
    figure = "–" if scores.macro.at_50 is None else f"{scores.macro.at_50:.2f}"
    return (
        f"; run {scores.run[:12]}, {targets} targets scored again, AVE {figure} "
        f"({scores.protocol}, {scores.annotations.label} annotations)"
    )
