"""``migbench verify``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from migbench.checks.verify.repair import Repair, repair
from migbench.checks.verify.verification import Verification, verify
from migbench.cli.options import (
    ExistingFolder,
    data_of_run_options,
    json_option,
    lock_option,
)
from migbench.cli.output import write_result
from migbench.cli.terminal import echo_line
from migbench.data.images import Images
from migbench.runs.findings import Finding, FindingKind
from migbench.scoring import coverage_of
from migbench.util.plain_text import encodable

_NAMED = 20
"""How many instances are named, of those that have no answer."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes."""

    folder: str
    run: str | None
    holds: bool
    complete: bool
    n: int | None
    """Targets that the run was asked for, of ``N`` in the annotation file."""
    available: int | None = msgspec.field(name="N")
    findings: list[Finding]
    asked_again: list[str]
    """Instances that have no answer, which the command of the run would ask for."""


@click.command("verify")
@click.argument("run", type=ExistingFolder)
@data_of_run_options
@click.option(
    "--requests",
    is_flag=True,
    help="Make every request again, too, and compare: reads all images.",
)
@click.option(
    "--repair",
    "repairs",
    is_flag=True,
    help="First set damaged lines aside in a file, and turn back line ends; all else is kept.",
)
@lock_option
@json_option
def command(
    run: Path,
    annotations: Path | None,
    images: Images,
    requests: bool,
    repairs: bool,
    without_lock: bool,
    json_file: Path | None,
) -> int:
    """Tell whether a stored RUN is what was stored, and whether its scores come out again.

    Looked at are answers, manifest, annotation file, tasks, profile, dialect, adapter, checkpoint,
    scores and versions. Exit status: 0 all holds, 1 all holds but answers are wanting, 2 something
    was changed, or the run is not sealed, so that it cannot be told. Other versions of packages are
    a remark, and change no status.

    \b
    Examples:
      migbench verify results/migician
      migbench verify --repair results/migician
    """
    done = repair(run, without_lock=without_lock) if repairs else None
    verification = verify(run, annotations=annotations, images=images, requests=requests)
    scored = verification.scored
    coverage = coverage_of(scored.scores) if scored else None
    report = Report(
        folder=encodable(str(run)),
        run=scored.scores.run if scored else None,
        holds=verification.holds,
        complete=verification.complete,
        n=coverage.asked if coverage else None,
        available=coverage.of if coverage else None,
        findings=verification.findings,
        asked_again=verification.unanswered,
    )
    if str(json_file) != "-":
        if repairs:
            show_repair(run, done, verification)
        show(verification)
    write_result(json_file, report)
    if not report.holds:
        return 2
    return 0 if report.complete else 1


def show_repair(run: Path, done: Repair | None, verification: Verification) -> None:
    """Print what was kept and set aside, and what is to be asked again."""
    if done is None:
        echo_line(f"{run}: nothing to repair")
        return
    aside = f", {done.set_aside} damaged lines set aside in {done.file}" if done.file else ""
    missing = f", lines missing in {done.gaps} places" if done.gaps else ""
    echo_line(f"{run}: {done.kept} answers kept, {done.mended} line ends mended{aside}{missing}")
    wanting = verification.unanswered
    if wanting:
        more = f" and {len(wanting) - _NAMED} more" if len(wanting) > _NAMED else ""
        echo_line(
            f"to be asked again, by the command that made the run: {', '.join(wanting[:_NAMED])}"
            f"{more}"
        )


def show(verification: Verification) -> None:
    """Print one line a finding, what weighs most first, and what it comes to."""
    for kind in FindingKind:
        for finding in verification.findings:
            if finding.kind is kind:
                echo_line(f"{kind.upper():<10}  {finding.message}")
    what = "something was CHANGED"
    if not verification.changed:
        what = "whether something was changed CANNOT BE TOLD"
    if verification.holds:
        what = "all holds" if verification.complete else "nothing was changed, answers are wanting"
    echo_line(f"{verification.folder}: {what}{_scores(verification)}")


def _scores(verification: Verification) -> str:
    if verification.scored is None:
        return ""
    scores = verification.scored.scores
    coverage = coverage_of(scores)
    targets = str(coverage) if coverage.is_part else f"{coverage.asked:,}"
    figure = "–" if scores.macro.at_50 is None else f"{scores.macro.at_50:.2f}"
    return (
        f"; run {scores.run[:12]}, {targets} targets scored again, AVE {figure} "
        f"({scores.protocol}, {scores.annotations.label} annotations)"
    )
