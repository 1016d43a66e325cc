"""``migbench run``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Unpack

import click

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import STRATEGIES
from migbench.cli.boxless import FEWEST, advice, tell_boxless
from migbench.cli.config_file import ConfigurableCommand, config_options
from migbench.cli.config_file import save_config as write_config
from migbench.cli.model_options import chosen_model, model_options
from migbench.cli.options import (
    data_options,
    difficulty_option,
    json_option,
    lock_option,
    scoring_options,
    together,
)
from migbench.cli.output import exit_status, show_scores, write_result
from migbench.cli.progress import ProgressBar
from migbench.cli.tally import is_boxless
from migbench.cli.terminal import echo, echo_error, echo_line
from migbench.cli.watching_options import watching_options
from migbench.data.images import Images, locate_data
from migbench.dialects import PromptSet, ask
from migbench.errors import UsageError
from migbench.reporting.instance_table import instances_file, write_instances
from migbench.runs.execution import Options, execute
from migbench.runs.manifest import MANIFEST, write_json
from migbench.runs.plan import Plan, make_plan
from migbench.runs.preflight import preflight, refuse_problems
from migbench.runs.run_log import RUN_LOG
from migbench.runs.selection import questions_of
from migbench.runs.sharding import read_shard
from migbench.runs.store import Run
from migbench.scoring import DifficultySplit
from migbench.scoring.scored_run import ScoredRun, score_run
from migbench.scoring.usage import estimate_usage, imagined_turns
from migbench.util.plain_table import plain_table

what_options = together(
    click.option("--tasks", help="Only these tasks: keys or Table 1 columns, comma-separated."),
    click.option(
        "--limit", type=click.IntRange(min=1), help="Only the first N instances of each task."
    ),
    click.option(
        "--instance",
        "instances",
        multiple=True,
        metavar="ID",
        help="Only the instance of this id; may be given several times.",
    ),
    click.option(
        "--shard",
        metavar="I/N",
        callback=lambda context, parameter, text: None if text is None else read_shard(text),
        help="Only the I-th of N parts, whole image sets; `migbench merge` joins the runs.",
    ),
    click.option(
        "--evaluator",
        type=click.Choice([*EVALUATORS]),
        default="polling",
        show_default=True,
        help="One question a target, or one for all targets of an image set.",
    ),
    click.option(
        "--strategy",
        type=click.Choice([*STRATEGIES]),
        default="direct",
        show_default=True,
        help="direct, or chain of thought: single-image (cot), multi-image (mcot).",
    ),
    click.option(
        "--prompts",
        type=click.Choice([prompts.value for prompts in PromptSet]),
        help="Whose wording: the published script's (default for direct; Table 1 was made with it) "
        "or the paper's (default for cot and mcot).",
    ),
)


@click.command("run", cls=ConfigurableCommand)
@config_options
@model_options
@data_options
@what_options
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.")
@click.option(
    "--name",
    help="What tables call the run, in place of the model's name; may change when it goes on.",
)
@lock_option
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Go on with a run that was changed after it was stored; it says so from then on.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be asked, and what stands in the way; start no model.",
)
@watching_options
@scoring_options
@difficulty_option
@json_option
def command(
    out: Path | None,
    save_config: Path | None,
    dry_run: bool,
    slow_after: float,
    patience: float,
    skip_checks: tuple[str, ...],
    debug: bool,
    name: str | None,
    without_lock: bool,
    accept_changes: bool,
    data: Path,
    images: Images,
    tasks: str | None,
    prompts: str | None,
    protocol: str,
    corrections: str,
    accept_model_errors: bool,
    difficulty: DifficultySplit | None,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Ask a model the benchmark's questions, and score it.

    Every answer is stored as it arrives: stop at any time, and the same command goes on.

    \b
    Examples:
      migbench run --model migician --data MIG --out results/migician
      migbench run --model ./my-checkpoint --dialect qwen2-vl --data MIG --out results/mine
      migbench run --model served-name --adapter openai --endpoint http://localhost:8000/v1 \\
        --dialect qwen3-vl --data MIG --out results/served
      migbench run --model mine --adapter my_model.py:MyModel --dialect internvl \\
        --data MIG --out results/class
      migbench run --model migician --data MIG --shard 1/3 --out results/part1
      migbench run --config run.yaml --limit 20 --out results/try
    """
    plan = make_plan(
        chosen_model(options),
        locate_data(data, images),
        tasks=tasks.split(",") if tasks else (),
        prompts=PromptSet(prompts) if prompts else None,
        **options,
    )
    if difficulty:
        difficulty.check(plan.annotations)
    if save_config is not None:
        write_config(click.get_current_context(), save_config)
    if dry_run:
        show_plan(plan)
        refuse_problems(preflight(plan, out, skip=skip_checks))
        return 0
    if out is None:
        raise UsageError("--out FOLDER: where should the answers go? (or --dry-run)")
    scored = carry_out(
        plan,
        out,
        protocol=protocol,
        corrections=corrections == "profile",
        accept_model_errors=accept_model_errors,
        difficulty=difficulty,
        silent=str(json_file) == "-",
        slow_after=slow_after,
        patience=patience,
        skip_checks=skip_checks,
        debug=debug,
        without_lock=without_lock,
        accept_changes=accept_changes,
        name=name,
    )
    write_result(json_file, scored.scores)
    return max(exit_status(scored.scores), warn_of_boxless(scored, out))


def carry_out(
    plan: Plan,
    out: Path,
    *,
    protocol: str,
    corrections: bool,
    accept_model_errors: bool,
    difficulty: DifficultySplit | None = None,
    silent: bool = False,
    debug: bool = False,
    **options: Unpack[Options],
) -> ScoredRun:
    """Ask, score and keep the scores in the run folder; print them unless ``silent``.

    ``options`` are those of `migbench.runs.execution.execute`. Ends the command with status 1 where
    the server was down all the time, and nothing was stored.
    """
    with ProgressBar(plan, protocol, corrections, out=out, debug=debug) as bar:
        progress = execute(plan, out, bar.start, **options)
    if progress.out_of_patience:
        echo_error(
            f"the server did not come back: {progress.last_error}; the same command goes on from "
            "here (--patience says how long it waits)"
        )
        if not (out / MANIFEST).exists():
            click.get_current_context().exit(1)
    if progress.was_finished and not silent:
        echo_line(f"{out}: every question is answered already; no model was started")
    scored = score_run(
        Run(out),
        protocol=protocol,
        corrections=corrections,
        annotations=plan.annotations.path,
        accept_model_errors=accept_model_errors,
        difficulty=difficulty,
    )
    write_json(out / "scores.json", scored.scores)
    write_instances(out / instances_file(), scored)
    if not silent:
        show_scores(scored.scores)
        echo_line(f"Run: {out} ({progress.asked} requests made now)")
    if scored.scores.model_errors and not progress.out_of_patience:
        _explain_errors(out, scored.scores.model_errors, progress.last_error, progress.gave_up)
    return scored


def warn_of_boxless(scored: ScoredRun, out: Path) -> int:
    """1, with a warning, where at least half of a run's answers hold no box; else 0."""
    boxless = sum(map(is_boxless, scored.samples))
    answered = len(scored.samples) - scored.scores.model_errors
    if answered < FEWEST or 2 * boxless < answered:
        return 0
    run = scored.run
    questions = questions_of(run.settings, scored.annotations)
    why = advice(run.settings, questions, run.lines, scored.annotations)
    echo_error(tell_boxless(boxless, f"of {answered:,}", why, out))
    return 1


def _explain_errors(out: Path, errors: int, last: str, gave_up: bool) -> None:
    if gave_up:
        echo("migbench: not one request was answered, so the run was ended early", err=True)
    echo(
        f"migbench: {errors} targets have no answer (last reason: {last})\n"
        "the same command asks only these again; each reason stands with its traceback in "
        f"{out / RUN_LOG}",
        err=True,
    )


def show_plan(plan: Plan) -> None:
    """Print what a run would ask: counts by task, and one prompt of each."""
    costs = estimate_usage(plan)
    header = ["Task", "Questions", "Targets", "Image sets", "Requests", "Images shown"]
    rows = [[task, *dataclasses.astuple(cost)] for task, cost in costs.items()]
    rows.append(["all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True))])
    echo(plain_table(rows, header, numbers=True))
    words = sum(len(question.text) for question in plan.questions)
    echo(f"\nQuestion texts: about {words // 4} tokens (four characters each), images apart.")
    settings = plan.settings
    dialect = settings.model.dialect
    echo(
        f"Model {settings.model.name}, dialect {dialect.name}, {settings.evaluator}, "
        f"{settings.strategy}, prompts {settings.prompts}"
        + (f", shard {settings.shard}" if settings.shard else "")
        + "; the first question of each task:"
    )
    first = {question.task: question for question in reversed(plan.questions)}
    for task in settings.tasks:
        if task not in first:
            continue  # All its questions are in other shards.
        question = first[task]
        images = [plan.data.image(name) for name in question.images]
        for turn in imagined_turns(plan, question):
            request = ask(dialect, turn, images, prompts=PromptSet(settings.prompts))
            echo(f"{task}: {request.text(dialect.image_token or '<image>')!r}")
