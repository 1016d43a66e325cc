"""``migbench doctor``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from migbench.checks.doctor import (
    Diagnosis,
    StoredRunCheck,
    check_stored_run,
    diagnose,
    diagnosis_report,
    prepare,
    stored_run_report,
)
from migbench.cli.model_options import MODEL_HELP, chosen_model, running_options
from migbench.cli.options import ExistingFolder, data_of_run_options, json_option, lock_option
from migbench.cli.output import write_result
from migbench.cli.progress import ProgressBar
from migbench.cli.terminal import echo, echo_error
from migbench.cli.watching_options import watching_options
from migbench.data.images import Images
from migbench.errors import UsageError
from migbench.runs.execution import execute
from migbench.runs.store import Run


@click.command("doctor")
@click.option("--model", help=MODEL_HELP)
@running_options
@click.option(
    "--scenes",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Image sets to ask about; fewer tell less.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep scenes and answers in this folder; the same command goes on with it.",
)
@click.option(
    "--run",
    "run",
    type=ExistingFolder,
    help="Check this stored run instead; no model is asked.",
)
@data_of_run_options
@lock_option
@watching_options
@json_option
def command(
    scenes: int,
    out: Path | None,
    run: Path | None,
    annotations: Path | None,
    images: Images,
    without_lock: bool,
    slow_after: float,
    patience: float,
    skip_checks: tuple[str, ...],
    debug: bool,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Check how a model writes boxes, before a run is wasted on a wrong declaration.

    The model is asked about rendered scenes, as the benchmark would ask it, and its boxes are
    compared with the known ones in every convention. The findings name the option to set; nothing
    is set automatically. With --run, the answers of a stored run are checked without ground truth.

    \b
    Examples:
      migbench doctor --model ./my-checkpoint --dialect qwen2-vl
      migbench doctor --model served-name --adapter openai --endpoint http://localhost:8000/v1 \\
        --dialect qwen3-vl --json diagnosis.json
      migbench doctor --run results/mine

    Exit status: 0 where the declaration is borne out (with --run: where nothing speaks against it),
    1 where it is not, or nobody can tell, 2 bad usage or input.
    """
    if (run is None) == (options["model"] is None):
        raise UsageError("give either --model, to ask it about scenes, or --run, a stored run")
    if run is None:
        _refuse({"annotations": annotations, "images": images}, "is about --run")
        with _folder(out) as folder:
            plan = prepare(chosen_model(options), folder / "scenes", scenes)
            with ProgressBar(plan, "standard", corrections=True, debug=debug) as bar:
                progress = execute(
                    plan,
                    folder / "run",
                    bar.start,
                    slow_after=slow_after,
                    patience=patience,
                    skip_checks=skip_checks,
                    without_lock=without_lock,
                )
            if progress.out_of_patience:
                echo_error(f"the server did not come back: {progress.last_error}")
                return 1
            diagnosis = diagnose(plan, Run(folder / "run"))
        return _show(diagnosis, diagnosis_report(diagnosis), json_file)
    _refuse({"out": out, **options}, "is about --model; a run has its own settings")
    found = check_stored_run(Run(run), annotations=annotations, images=images)
    return _show(found, stored_run_report(found), json_file)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, given in options.items():
        if given not in (None, ()):
            raise UsageError(f"--{name.replace('_', '-')} {why}")


def _show(found: Diagnosis | StoredRunCheck, report: str, json_file: Path | None) -> int:
    """Print it; the exit status."""
    if str(json_file) != "-":
        echo(report)
    write_result(json_file, found)
    return 0 if found.ok else 1


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="migbench-doctor-") as folder:
        yield Path(folder)
