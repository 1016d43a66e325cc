"""``migtrain run``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migbench.cli.terminal import echo
from migtrain.cli.options import ExistingFolder, NewFolder
from migtrain.recipe.stages import GPUS

if TYPE_CHECKING:
    from migtrain.recipe.estimate import TrainingEstimate

MINI_PER_TASK = 100
"""So many of MIG-Mini's instances of each task score a trained checkpoint, as the packaged one."""


@click.command("run")
@click.argument("stage", metavar="1|2|FILE")
@click.option("--data", type=ExistingFolder, required=True, help="What migtrain prepare has made.")
@click.option("--model", required=True, metavar="FOLDER|HUB-ID", help="Where training starts.")
@click.option("--out", type=NewFolder, required=True, help="The training's folder.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Another value of a setting."
)
@click.option("--cpu", is_flag=True, help="Train without a GPU and without DeepSpeed.")
@click.option("--dry-run", is_flag=True, help="Say what it needs, no more.")
@click.option(
    "--gpus", type=click.IntRange(min=1), default=GPUS, show_default=True, help="Of a dry run."
)
@click.option(
    "--evaluate", "evaluation_data", metavar="mini|FOLDER", help="Score the result on it."
)
@click.option("--validate-every", type=click.IntRange(min=1), metavar="STEPS")
@click.option(
    "--validate-on", metavar="mini|FOLDER", default="mini", show_default=True, help="Its data set."
)
@click.option("--validate-per-task", type=click.IntRange(min=1), default=10, show_default=True)
def command(
    stage: str,
    data: Path,
    model: str,
    out: Path,
    overrides: tuple[str, ...],
    cpu: bool,
    dry_run: bool,
    gpus: int,
    evaluation_data: str | None,
    validate_every: int | None,
    validate_on: str,
    validate_per_task: int,
) -> int:
    """Train STAGE with the authors' values by LLaMA-Factory, and score the result.

    The number of examples that LLaMA-Factory finds is compared with the records; where it differs,
    the training is stopped before its first step. --evaluate and --validate-on take the folder of
    MIG-Bench, or mini for MIG-Mini's test split. With --validate-every the model is scored while
    it is trained, in validation.jsonl and, beside the loss, in model/trainer_state.json.

    \b
    Examples:
      migtrain run 1 --data stage1-data --model Qwen/Qwen2-VL-7B --out stage1 --dry-run
      migtrain run 1 --data stage1-data --model Qwen/Qwen2-VL-7B --out stage1 --evaluate MIG
      migtrain run 2 --data stage2-data --model stage1/model --out stage2 --evaluate MIG
      migtrain merge stage1/model stage2/model --out migician
    """
    from migtrain.recipe.prepare import read_prepared
    from migtrain.recipe.run import EVALUATION, StageRun, evaluate, train_stage
    from migtrain.recipe.stages import TrainingPlace, complete_stage, read_stage
    from migtrain.recipe.validation import ValidationSettings
    from migtrain.validation import find_benchmark

    prepared = read_prepared(data)
    config = complete_stage(
        read_stage(stage), TrainingPlace(model, data, prepared, out), overrides, cpu
    )
    run = StageRun(config, prepared, out)
    if dry_run:
        from migtrain.recipe.estimate import estimate_training

        gpus = 1 if cpu else gpus
        _show_estimate(estimate_training(config, run.examples, gpus), gpus)
        return 0
    if validate_every:
        data = find_benchmark(
            validate_on, out / "validation-data", per_task=validate_per_task, seed=1
        )
        validation = ValidationSettings(
            str(out.resolve()), str(data.resolve()), validate_every, validate_per_task
        )
        run = replace(run, validation=validation)
    if evaluation_data is not None:
        # Before the training, which would be lost time without it.
        evaluation = find_benchmark(
            evaluation_data, out / "evaluation-data", per_task=MINI_PER_TASK, seed=0
        )
    trained = train_stage(run, echo)
    echo(f"{trained}: a checkpoint")
    if evaluation_data is None:
        echo(f"next: migbench run --model {trained} --data DATA --out RUN")
        return 0
    return evaluate(trained, evaluation, out / EVALUATION)


def _show_estimate(found: TrainingEstimate, gpus: int) -> None:
    gib = 1 << 30
    parameters, memory = found.parameters, found.memory
    echo(
        f"Model: {parameters.total:,} parameters ({parameters.language:,} language, "
        f"{parameters.projector:,} projector, {parameters.vision:,} vision), "
        f"{parameters.trained:,} of them trained"
    )
    echo(f"Memory on each of {gpus} GPUs, at most about {memory.total / gib:.1f} GiB:")
    for name in ("weights", "gathered", "gradients", "optimizer", "activations", "logits"):
        echo(f"  {name:12} {getattr(memory, name) / gib:6.1f} GiB")
    echo(
        "  unsharded, all parameters trained and without activations, accelerate estimates "
        f"{memory.unsharded / gib:.1f} GiB"
    )
    echo(
        f"Steps: {found.steps:,} for {found.examples:,} examples; at most "
        f"{found.most_tokens:,} tokens"
    )
