"""``migtrain miniature``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from migbench.cli.terminal import echo
from migtrain.cli.options import NewFolder


@click.command("miniature")
@click.option("--config", required=True, metavar="NAME|FILE", help="The recipe.")
@click.option("--out", type=NewFolder, required=True, help="The training's folder.")
@click.option("--model", "start", metavar="FOLDER", help="Start from this checkpoint instead.")
@click.option("--steps", type=click.IntRange(min=1), help="Train for so many steps in all.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that prepare examples.")
@click.option(
    "--max-minutes", type=click.FloatRange(min=0), help="Save and stop after so much time."
)
def command(
    config: str,
    out: Path,
    start: str | None,
    steps: int | None,
    workers: int | None,
    max_minutes: float | None,
) -> int:
    """Train a miniature on MIG-Mini's scenes; the same command goes on after an interruption.

    The packaged recipes are frozen: mini-vision, mini-stage1 and mini-stage2, one after another,
    made migician-mini; mini-all trains all ten tasks in place of the two stages. Ends with status 1
    where --max-minutes has stopped it.

    \b
    Examples:
      migtrain miniature --config mini-vision --out mini-vision
      torchrun --nproc_per_node 2 -m migtrain miniature --config mini-stage1 --out mini-stage1
    """
    from migtrain.miniature.recipe import find_recipe
    from migtrain.miniature.train import MODEL, train

    recipe = find_recipe(config)
    if start is not None:
        model = msgspec.structs.replace(recipe.model, checkpoint=start, sizes=None)
        recipe = msgspec.structs.replace(recipe, model=model)
    if workers is not None:
        recipe = msgspec.structs.replace(recipe, workers=workers)
    recipe = recipe if steps is None else recipe.with_steps(steps)
    is_main = os.environ.get("RANK", "0") == "0"  # set by torchrun
    if is_main:
        echo(recipe.title)
    trained = train(recipe, out, max_minutes=max_minutes, log=_show if is_main else _ignore)
    if not trained.finished:
        echo(
            f"migtrain: stopped after step {trained.step} of {recipe.steps}; "
            "the same command goes on from here",
            err=True,
        )
        return 1
    if is_main:
        model_folder = out / MODEL
        echo(
            f"{model_folder}: a checkpoint; next: migbench run --model {model_folder} "
            "--data DATA --out RUN"
        )
    return 0


def _ignore(line: dict[str, Any]) -> None:
    """Another process prints."""


def _show(line: dict[str, Any]) -> None:
    if "acc@0.5" in line:
        tasks = ", ".join(f"{task} {accuracy:.0f}" for task, accuracy in line["tasks"].items())
        echo(f"step {line['step']}: validation Acc@0.5 {line['acc@0.5']:.1f} ({tasks})")
    elif "probe_accuracy" in line:
        found = ", ".join(f"{name} {share:.1f} %" for name, share in line["probe_accuracy"].items())
        echo(f"step {line['step']}: probe accuracy on test scenes: {found}")
    else:
        rate = f", learning rate {line['learning_rate']:.2e}" if "learning_rate" in line else ""
        echo(f"step {line['step']}: loss {line['loss']:.4f}{rate}")
