"""``migtrain miniature``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from migbench.cli.terminal import echo
from migbench.errors import UsageError
from migtrain.cli.options import ExistingFolder
from migtrain.miniature.data import TrainingData
from migtrain.miniature.metrics import CURVE
from migtrain.miniature.recipe import Recipe, find_recipe
from migtrain.miniature.train import BAD_RECORDS, MODEL, Trained, train
from migtrain.records.files import Census

if TYPE_CHECKING:
    from migtrain.miniature.dry_run import DryRun

_GIB = 1 << 30


@click.command("miniature")
@click.option("--config", required=True, metavar="NAME|FILE", help="The recipe.")
@click.option("--data", type=ExistingFolder, help="Folder below which records and images lie.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="The training's folder."
)
@click.option(
    "--model", "start", metavar="FOLDER|HUB-ID", help="Start from this checkpoint instead."
)
@click.option("--steps", type=click.IntRange(min=1), help="Train for so many steps in all.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that prepare examples.")
@click.option(
    "--max-minutes", type=click.FloatRange(min=0), help="Save and stop after so much time."
)
@click.option(
    "--resume",
    type=click.Choice(["automatic", "never"]),
    default="automatic",
    show_default=True,
    help="automatic: go on where the training in --out stopped.",
)
@click.option("--dry-run", is_flag=True, help="Say what it needs and whether it can work, no more.")
def command(
    config: str,
    data: Path | None,
    out: Path | None,
    start: str | None,
    steps: int | None,
    workers: int | None,
    max_minutes: float | None,
    resume: str,
    dry_run: bool,
) -> int:
    """Train a Qwen2-VL model by a recipe; the same command goes on after an interruption.

    Packaged recipes: qwen2-vl-7b-stage1 and qwen2-vl-7b-stage2 (the paper's, eight GPUs);
    mini-seeing, mini-stage1 and mini-stage2 (the packaged miniature's, one after another);
    mini-all (the same at one go), mini-smoke (a toy, to see that it works) and by-heart.

    \b
    Examples:
      migtrain miniature --config mini-smoke --steps 50 --out toy
      migtrain miniature --config mini-seeing --out mini-seeing

    Ends with status 1 where --max-minutes has stopped it, and with 2 where a dry run finds that it
    cannot work.
    """
    recipe = _adapted(find_recipe(config), start, steps, workers)
    if dry_run:
        from migtrain.miniature.dry_run import dry_run as look

        return _show_dry_run(recipe, look(recipe, data))
    if out is None:
        raise UsageError("--out DIR: where the training is kept (or --dry-run)")
    is_main = os.environ.get("RANK", "0") == "0"  # set by torchrun
    trained = train(
        recipe,
        out,
        data,
        resume=resume == "automatic",
        max_minutes=max_minutes,
        note=_show_line if is_main else _nothing,
        report=_show_data if is_main else _nothing,
    )
    return _show_end(trained, recipe) if is_main else 0 if trained.finished else 1


def _adapted(recipe: Recipe, start: str | None, steps: int | None, workers: int | None) -> Recipe:
    if start is not None:
        model = msgspec.structs.replace(recipe.model, checkpoint=start, sizes=None)
        recipe = msgspec.structs.replace(recipe, model=model)
    if workers is not None:
        recipe = msgspec.structs.replace(recipe, workers=workers)
    return recipe if steps is None else recipe.with_steps(steps)


def _nothing(_: object) -> None:
    pass


def _show_line(line: dict[str, Any]) -> None:
    if "acc@0.5" in line:
        tasks = ", ".join(f"{task} {accuracy:.0f}" for task, accuracy in line["tasks"].items())
        echo(f"step {line['step']}: held-out Acc@0.5 {line['acc@0.5']:.1f} ({tasks})")
    elif "read" in line:
        read = ", ".join(f"{name} {share:.1f} %" for name, share in line["read"].items())
        echo(f"step {line['step']}: read off held-out scenes: {read}")
    else:
        rate = f", learning rate {line['learning_rate']:.2e}" if "learning_rate" in line else ""
        echo(f"step {line['step']}: loss {line['loss']:.4f}{rate}")


def _show_data(data: TrainingData) -> None:
    for report in data.reports:
        how_many = "drawn as needed" if report.examples is None else f"{report.examples:,} records"
        echo(f"{report.name}: {how_many}; {report.needed:,} examples wanted")
        _show_census(report.census)


def _show_census(census: Census) -> None:
    if census.kinds:
        echo(f"  of kinds {_counts(census.kinds)}")
    if census.flaws:
        echo(f"  left out: {_counts(census.flaws)}")
        for bad in census.first_bad[:5]:
            echo(f"    {bad}")


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def _show_end(trained: Trained, recipe: Recipe) -> int:
    bad = trained.folder / BAD_RECORDS
    if bad.is_file():
        echo(f"records left out are named in {bad}")
    if trained.curve_drawn:
        echo(f"loss and accuracy: {trained.folder / CURVE}")
    else:
        echo("no picture of the loss: matplotlib is missing (pip install 'migbench[report]')")
    if not trained.finished:
        echo(
            f"migtrain: stopped after step {trained.step} of {recipe.steps}; "
            "the same command goes on from here",
            err=True,
        )
        return 1
    echo(
        f"{trained.folder / MODEL}: a checkpoint; next: migbench run --model "
        f"{trained.folder / MODEL} --data DATA --out RUN"
    )
    return 0


def _show_dry_run(recipe: Recipe, found: DryRun) -> int:
    parameters, memory = found.parameters, found.memory
    echo(recipe.title)
    echo(
        f"\nModel: {parameters.total:,} parameters ({parameters.language:,} language, "
        f"{parameters.merger:,} merger, {parameters.vision:,} vision), "
        f"{parameters.trained:,} of them trained"
    )
    echo(
        f"Memory on each of {recipe.machine.gpus} GPUs, at most about "
        f"{memory.total / _GIB:.1f} of {found.available / _GIB:.1f} GiB to be had:"
    )
    for name in ("weights", "gradients", "optimiser", "gathered", "activations", "logits"):
        echo(f"  {name:12} {getattr(memory, name) / _GIB:6.1f} GiB")
    echo(
        f"Steps: {found.steps:,} of {recipe.batch.size} examples, {found.examples:,} in all; "
        f"at most {found.most_tokens:,} tokens"
    )
    if found.lengths:
        total = found.lengths.mean * found.examples
        echo(
            f"Tokens: about {found.lengths.mean:,.0f} an example, the longest of "
            f"{found.lengths.looked_at} looked at {found.lengths.longest:,} "
            f"(limit {recipe.max_tokens:,}); about {total:,.0f} in all"
        )
    echo(f"Checkpoints kept: {recipe.keep}, {found.checkpoint_bytes / _GIB:.1f} GiB on disk")
    echo("Data:")
    for report in found.reports:
        epochs = f", {report.epochs:.2f} epochs" if report.epochs is not None else ""
        here = "drawn as needed" if report.examples is None else f"{report.examples:,} found"
        echo(f"  {report.name}: {here}, {report.needed:,} wanted{epochs}")
        _show_census(report.census)
    for problem in found.problems:
        echo(f"migtrain: {problem}", err=True)
    echo("\nIt cannot work as it stands" if found.problems else "\nIt can work")
    return 2 if found.problems else 0
