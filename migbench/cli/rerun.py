"""``migbench rerun``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from migbench.checks.verify.received import Given, missing_options
from migbench.checks.verify.repeating import (
    Agreement,
    agreement,
    data_of_run,
    model_again,
    obstacles,
    plan_again,
)
from migbench.checks.verify.verification import how_scored, read_scores
from migbench.cli.adapter_options import adapter_options, adapter_settings
from migbench.cli.options import (
    ExistingFile,
    ExistingFolder,
    FolderOrFile,
    image_options,
    json_option,
    lock_option,
)
from migbench.cli.output import exit_status, write_result
from migbench.cli.run import carry_out
from migbench.cli.terminal import echo, echo_line
from migbench.cli.watching_options import watching_options
from migbench.data.images import Images
from migbench.errors import UsageError
from migbench.runs.findings import FindingKind
from migbench.runs.manifest import Manifest, read_manifest
from migbench.runs.ownership import is_own
from migbench.runs.plan import Plan
from migbench.runs.run_hash import run_hash
from migbench.runs.store import Run
from migbench.runs.stored import stored_findings
from migbench.scoring import Scores
from migbench.util.escaping import visible


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` writes: the hashes of both runs, their answers, and the new scores."""

    run: str
    was: str
    answers: Agreement
    scores: Scores


@click.command("rerun")
@click.argument("run", type=ExistingFolder)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder to make.  [default: RUN-rerun]"
)
@click.option(
    "--data",
    type=FolderOrFile,
    help="Where the data set's folder or annotation file is now, if it was moved.",
)
@image_options("--images", help="Where the image folder is now.")
@click.option(
    "--trust-adapter",
    type=ExistingFile,
    metavar="FILE.py",
    help="Run this file, where the run used a Python class: its hash must be that of the run.",
)
@click.option("--checkpoint", help="The checkpoint to load, in place of the one the run names.")
@adapter_options
@lock_option
@watching_options
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Repeat it although the data, a task, the model or a setting is another now.",
)
@json_option
def command(
    run: Path,
    out: Path | None,
    data: Path | None,
    images: Images,
    trust_adapter: Path | None,
    checkpoint: str | None,
    without_lock: bool,
    slow_after: float,
    patience: float,
    skip_checks: tuple[str, ...],
    debug: bool,
    accept_changes: bool,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Repeat a stored RUN under its own settings, and tell which answers are others.

    Everything is taken from the run's manifest but keys, which are read from the environment as
    ever. Options of adapters are for what may change, such as a server's address. Of a run that you
    did not make here yourself, code, checkpoint, address, texts among the settings and image folder
    are taken from the command line alone. Exit status: 0 done, whatever was answered, 1 done but
    incomplete, 2 refused.

    \b
    Examples:
      migbench rerun results/migician
      migbench rerun results/served --endpoint http://localhost:8001/v1 --out results/again
    """
    manifest = read_manifest(run)
    out = out or run.resolve().with_name(f"{run.resolve().name}-rerun")
    if out.resolve() == run.resolve():
        raise UsageError(f"--out {out}: is the run itself; choose another folder")
    given = Given(
        adapter_file=trust_adapter,
        checkpoint=checkpoint,
        images=images is not None or data is not None,
        settings=adapter_settings(options),
    )
    model = model_again(manifest, given)
    _refuse_received(run, manifest, given)
    location = data_of_run(manifest, data, images)
    plan = plan_again(manifest, location, model)
    _refuse_changes(run, manifest, plan, accept_changes)
    _announce(plan)
    how = how_scored(run, read_scores(run))
    scored = carry_out(
        plan,
        out,
        protocol=how.protocol,
        corrections=how.corrections != "none",
        accept_model_errors=how.accepted_model_errors,
        silent=str(json_file) == "-",
        slow_after=slow_after,
        patience=patience,
        skip_checks=skip_checks,
        debug=debug,
        without_lock=without_lock,
    )
    first, second = Run(run), Run(out)
    report = Report(
        run=scored.scores.run,
        was=run_hash(first),
        answers=agreement(first, second, plan.annotations),
        scores=scored.scores,
    )
    if str(json_file) != "-":
        show(report)
    write_result(json_file, report)
    return exit_status(scored.scores)


def _refuse_received(run: Path, manifest: Manifest, given: Given) -> None:
    """A stored run is data: only the user chooses what is loaded, asked and sent."""
    if is_own(manifest):
        return
    if missing := missing_options(manifest, given):
        raise UsageError(
            f"{run}: was not made by you here, so nothing that it names is loaded, asked or sent "
            "unless you name it too; repeating it would\n"
            + "\n".join(visible(f"  {what}: allow it with {option}") for what, option in missing)
        )


def _announce(plan: Plan) -> None:
    """Say what is loaded, asked and sent."""
    model, images = plan.settings.model, plan.data.images
    lines = [f"loads adapter {model.adapter}"]
    if model.checkpoint is not None:
        lines.append(f"asks {model.checkpoint}")
    lines += [f"  {name}: {value}" for name, value in model.settings.items()]
    shown = f"with images below {images.root}" if images else "without images"
    lines.append(f"sends {len(plan.questions)} questions of {plan.annotations.path}, {shown}")
    for line in lines:
        echo_line(f"rerun: {line}", err=True)


def _refuse_changes(run: Path, manifest: Manifest, plan: Plan, accept: bool) -> None:
    found = [
        finding.message
        for finding in (*stored_findings(run, manifest), *obstacles(manifest, plan))
        if finding.kind is FindingKind.CHANGED
    ]
    if found and not accept:
        raise UsageError(
            f"{run}: cannot be repeated as it was; --accept-changes repeats it all the same\n"
            + "\n".join(f"  {message}" for message in found)
        )
    for message in found:
        echo_line(f"accepted: {message}", err=True)


def show(report: Report) -> None:
    """Print how the answers compare, and by which hashes the runs are known."""
    answers = report.answers
    if answers.complete:
        echo(f"All {answers.same} answers are the same as before.")
    else:
        echo(
            f"{answers.different} of {answers.same + answers.different} answers are others than "
            f"before; {answers.only_first} are here no more, {answers.only_second} are new."
        )
    if answers.examples:
        echo_line(f"Others are those to {', '.join(answers.examples)}.")
    is_was = "as before" if report.run == report.was else f"was {report.was[:12]}"
    echo(f"Run {report.run[:12]}, {is_was}.")
