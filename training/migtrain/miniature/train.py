"""Training by a recipe: resumable, and the same every time.

The folder of a training holds ``recipe.json`` (what was asked for), ``metrics.jsonl`` and
``curve.png`` (how it went), ``environments.jsonl`` (with what each call worked),
``bad_records.jsonl`` and ``skipped.jsonl`` (what could not be used),
``checkpoint-N`` (to go on from) and, when it is finished, ``model``: a checkpoint in the published
file layout. The same command goes on where the last one stopped, with the same examples and, on the
same machine, the same losses as if it had not.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from migbench.errors import UsageError
from migbench.runs.environment import current_environment
from migbench.runs.manifest import write_json
from migtrain.merging import merge_weights
from migtrain.miniature.bucketing import StepwiseOrder
from migtrain.miniature.data import TrainingData, open_data
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.importing import untyped
from migtrain.miniature.lessons import make_lesson
from migtrain.miniature.metrics import CURVE, METRICS, append_metrics, draw_curve, rewind
from migtrain.miniature.models import copy_processing, start_checkpoint
from migtrain.miniature.optimisers import make_optimiser
from migtrain.miniature.recipe import Recipe
from migtrain.miniature.trainer import (
    Note,
    diary_callback,
    make_trainer,
    pause_callback,
    watch_callback,
)
from migtrain.miniature.watching import HeldOut
from migtrain.records.files import BadRecord

MODEL = "model"
"""The folder of the finished checkpoint, inside the training's."""
RECIPE = "recipe.json"
BAD_RECORDS = "bad_records.jsonl"
ENVIRONMENTS = "environments.jsonl"

SERVING = frozenset({"title", "workers", "keep", "machine"})
"""What may differ when a training goes on: it does not change what is learnt."""

_STORED_TYPES = {"bfloat16": "BF16", "float32": "F32"}


@dataclass(frozen=True, slots=True)
class Trained:
    """How far a training has come. ``resumed_from`` is the step at which this call began."""

    folder: Path
    step: int
    finished: bool
    resumed_from: int
    curve_drawn: bool


def train(
    recipe: Recipe,
    out: Path,
    data: Path | None = None,
    *,
    resume: bool = True,
    max_minutes: float | None = None,
    note: Note = lambda line: None,
    report: Callable[[TrainingData], None] = lambda data: None,
) -> Trained:
    """Train by a recipe into the folder ``out``; go on there if a training has been begun.

    Records and images lie below ``data``. After ``max_minutes`` it saves and stops, to be gone on
    with. ``note`` is called with every line of the diary, ``report`` with the data found. Raises
    `UsageError` where ``out`` holds another training or data are missing, `AdapterError` where a
    package is missing or the model does not load.
    """
    arguments = _arguments(recipe, out)
    is_main = arguments.process_index == 0
    with arguments.main_process_first(local=False):
        if is_main:
            _require_place(out, recipe, resume)
            write_json(out / RECIPE, recipe)
    if (out / MODEL).is_dir():
        return Trained(out, recipe.steps, True, recipe.steps, (out / CURVE).is_file())
    checkpoint = last_checkpoint(out)
    if is_main:
        rewind(out / METRICS, _step(checkpoint))
        surroundings = msgspec.to_builtins(current_environment())
        append_metrics(out / ENVIRONMENTS, {"from_step": _step(checkpoint), **surroundings})
    opened = open_data(recipe, data, on_bad=_bad_record_file(out) if is_main else _ignore)
    report(opened)
    opened.require_all()
    with arguments.main_process_first(local=False):
        start = start_checkpoint(recipe.model, out / "start", recipe.seed)
    encoder = Encoder(
        start,
        max_tokens=recipe.max_tokens,
        min_pixels=recipe.model.min_pixels,
        max_pixels=recipe.model.max_pixels,
    )

    def diary(line: dict[str, Any]) -> None:
        append_metrics(out / METRICS, line)
        note(line)

    callbacks = [diary_callback(diary)]
    if recipe.watch is not None:
        with arguments.main_process_first(local=False):
            held_out = HeldOut(recipe.watch, data, out / "held_out")

        def measure(model: Any) -> dict[str, Any]:
            world = arguments.world_size
            found = held_out.measure(model, encoder, rank=arguments.process_index, world=world)
            return {"acc@0.5": found.macro, "tasks": found.tasks}

        callbacks.append(watch_callback(recipe.watch.every, measure, diary))
    if max_minutes is not None:
        callbacks.append(pause_callback(max_minutes, recipe.log_every))
    lesson = make_lesson(recipe, start, checkpoint, opened, encoder, out)
    trainer = make_trainer(
        lesson,
        arguments,
        StepwiseOrder(recipe.steps, recipe.batch.size, opened.size),
        encoder,
        callbacks,
        make_optimiser(recipe.optimiser, lesson.learner),
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = trainer.state.global_step
    finished = step == recipe.steps
    if finished:
        measured = lesson.finish()
        if measured and is_main:
            diary({"step": step, "read": measured})
        if lesson.learner is lesson.model:
            trainer.save_model(str(out / "last"))
        else:
            lesson.model.save_pretrained(out / "last")
    drawn = False
    if is_main:
        drawn = draw_curve(out / METRICS, out / CURVE)
        if finished:
            copy_processing(start, out / "last", recipe.model)
            merge_weights([out / "last"], out / MODEL, dtype=_STORED_TYPES[recipe.saved_as])
            shutil.rmtree(out / "last")
    return Trained(out, step, finished, _step(checkpoint), drawn)


def last_checkpoint(out: Path) -> Path | None:
    """The last checkpoint that was written to its end: the trainer's state comes last."""
    found = [path.parent for path in out.glob("checkpoint-*/trainer_state.json")]
    return max(found, key=_step, default=None)


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0


def _require_place(out: Path, recipe: Recipe, resume: bool) -> None:
    """Raise `UsageError` where the folder holds something else than this recipe's training."""
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    if not resume:
        raise UsageError(f"{out}: holds a training; choose an empty folder to begin another")
    try:
        found = json.loads((out / RECIPE).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{out}: is not empty, and holds no training ({error})") from error
    wanted = json.loads(msgspec.json.encode(recipe))
    keys = {*found, *wanted} - SERVING
    if changed := sorted(key for key in keys if found.get(key) != wanted.get(key)):
        raise UsageError(
            f"{out}: holds a training by another recipe (changed: {', '.join(changed)}); choose "
            "another folder, or train with the recipe in its recipe.json"
        )


def _arguments(recipe: Recipe, out: Path) -> Any:
    """The recipe as `TrainingArguments`."""
    torch = untyped("torch")
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    has_gpu = torch.cuda.is_available()
    if has_gpu and world == 1 and torch.cuda.device_count() > 1:
        raise UsageError(
            f"{torch.cuda.device_count()} GPUs are here: start with torchrun --nproc_per_node "
            f"{torch.cuda.device_count()} -m migtrain miniature …, or show one "
            "(CUDA_VISIBLE_DEVICES=0)"
        )
    at_once = recipe.batch.per_device * world
    if recipe.batch.size % at_once:
        raise UsageError(
            f"a batch of {recipe.batch.size} cannot be shared by {world} processes with "
            f"{recipe.batch.per_device} examples each at once"
        )
    optimiser = recipe.optimiser
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch.per_device,
        "gradient_accumulation_steps": recipe.batch.size // at_once,
        "learning_rate": optimiser.learning_rate,
        "lr_scheduler_type": optimiser.schedule,
        "warmup_steps": round(optimiser.warmup_ratio * recipe.steps),
        "weight_decay": optimiser.weight_decay,
        "adam_beta2": optimiser.beta2,
        "max_grad_norm": optimiser.max_grad_norm,
        "optim": "adamw_torch_fused" if has_gpu else "adamw_torch",
        "bf16": recipe.precision == "bfloat16",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "logging_strategy": "steps",
        "logging_steps": recipe.log_every,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        "save_total_limit": recipe.keep,
        "dataloader_num_workers": recipe.workers,
        "dataloader_persistent_workers": recipe.workers > 0,
        "dataloader_prefetch_factor": 4 if recipe.workers else None,
        "dataloader_pin_memory": has_gpu,
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        "report_to": [],
        "disable_tqdm": True,
    }
    if not has_gpu and not torch.backends.mps.is_available():
        settings |= {"use_cpu": True, "ddp_backend": "gloo" if world > 1 else None}
    try:
        arguments = untyped("transformers").TrainingArguments(**(settings | recipe.trainer))
    except (TypeError, ValueError, ImportError) as error:
        raise UsageError(f"the recipe's 'trainer' does not fit transformers: {error}") from error
    if arguments.world_size != world:
        raise UsageError(
            f"{world} processes were started, and transformers works with {arguments.world_size}: "
            "each would train for itself; check torchrun's and the recipe's settings"
        )
    return arguments


def _bad_record_file(out: Path) -> Callable[[BadRecord], None]:
    """Names every bad record in a file of the training's folder, anew in every call."""
    path = out / BAD_RECORDS
    path.unlink(missing_ok=True)

    def write(bad: BadRecord) -> None:
        line = {"file": str(bad.file), "index": bad.index, "reason": bad.detail}
        append_metrics(path, line)

    return write


def _ignore(bad: BadRecord) -> None:
    pass
