"""Training by a recipe: resumable, and the same every time.

The folder of a training holds ``recipe.json`` (what was asked for), ``metrics.jsonl`` (its log),
``environments.jsonl`` (versions and machine of each call), ``checkpoint-N`` and, when it is
finished, ``model``: a checkpoint in the published file layout. The same command goes on where the
last one stopped, with the same examples and, on the same machine, the same losses.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import AutoProcessor

from migbench.data.images import locate_data
from migbench.errors import UsageError
from migbench.runs.environment import current_environment
from migbench.runs.manifest import write_json
from migtrain.merging import merge_weights
from migtrain.miniature.batching import StepwiseOrder
from migtrain.miniature.data import open_data
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.models import copy_processing, start_checkpoint
from migtrain.miniature.objectives import TrainingObjective, make_objective
from migtrain.miniature.optimisers import make_optimiser
from migtrain.miniature.recipe import Recipe, ValidationSpec
from migtrain.miniature.trainer import (
    Log,
    log_callback,
    make_trainer,
    time_limit_callback,
    validation_callback,
)
from migtrain.miniature.training_log import METRICS, append_metrics, rewind
from migtrain.validation import MINI, ValidationSet, find_benchmark, validate

MODEL = "model"
"""The folder of the finished checkpoint, inside the training's."""
RECIPE = "recipe.json"
ENVIRONMENTS = "environments.jsonl"
VALIDATION_DATA = "validation-data"

MAY_DIFFER = frozenset({"title", "workers"})
"""What may differ when a training goes on: it does not change what is learnt."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How far a training has come. ``resumed_from`` is the step at which this call began."""

    folder: Path
    step: int
    finished: bool
    resumed_from: int


def train(
    recipe: Recipe,
    out: Path,
    *,
    max_minutes: float | None = None,
    log: Log = lambda line: None,
) -> Trained:
    """Train by a recipe into the folder ``out``; go on there if a training has been begun.

    After ``max_minutes`` it saves and stops, to be gone on with. ``log`` is called with every line
    of the training's log. Raises `UsageError` where ``out`` holds another training, `AdapterError`
    where the model does not load.
    """
    arguments = _arguments(recipe, out)
    is_main = arguments.process_index == 0
    with arguments.main_process_first(local=False):
        if is_main:
            _require_place(out, recipe)
            write_json(out / RECIPE, recipe)
    if (out / MODEL).is_dir():
        return Trained(out, recipe.steps, True, recipe.steps)
    checkpoint = last_checkpoint(out)
    if is_main:
        rewind(out / METRICS, _step(checkpoint))
        surroundings = msgspec.to_builtins(current_environment())
        append_metrics(out / ENVIRONMENTS, {"from_step": _step(checkpoint), **surroundings})
    data = open_data(recipe)
    with arguments.main_process_first(local=False):
        start = start_checkpoint(recipe.model, out / "start", recipe.seed)
    encoder = Encoder(start, max_tokens=recipe.max_tokens)

    def keep(line: dict[str, Any]) -> None:
        append_metrics(out / METRICS, line)
        log(line)

    callbacks = [log_callback(keep)]
    if recipe.validation is not None:
        with arguments.main_process_first(local=False):
            callbacks.append(_validation(recipe.validation, start, out, keep))
    if max_minutes is not None:
        callbacks.append(time_limit_callback(max_minutes, recipe.log_every))
    objective = make_objective(recipe, start, checkpoint, data, encoder)
    trainer = make_trainer(
        objective,
        arguments,
        StepwiseOrder(recipe.steps, recipe.batch.size, data.size),
        encoder,
        callbacks,
        make_optimiser(recipe.optimiser, objective.learner),
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = trainer.state.global_step
    finished = step == recipe.steps
    if finished:
        accuracy = objective.finish()
        if is_main:
            if accuracy:
                keep({"step": step, "probe_accuracy": accuracy})
            _save(objective, start, out)
    return Trained(out, step, finished, _step(checkpoint))


def _validation(spec: ValidationSpec, start: Path, out: Path, log: Log) -> Any:
    """The callback that validates as a recipe says."""
    folder = find_benchmark(MINI, out / VALIDATION_DATA, per_task=spec.per_task, seed=1)
    questions = ValidationSet(
        locate_data(folder), per_task=spec.per_task, max_new_tokens=spec.max_new_tokens, tasks=()
    )
    load: Any = AutoProcessor.from_pretrained
    processor = load(start)

    def measure(model: Any) -> dict[str, Any]:
        score = validate(model, processor, questions, spec.batch)
        return {"acc@0.5": score.macro, "tasks": score.tasks}

    return validation_callback(spec.every, measure, log)


def _save(objective: TrainingObjective, start: Path, out: Path) -> None:
    """Write the finished checkpoint, in bfloat16 and in the published layout."""
    objective.model.save_pretrained(out / "last")
    copy_processing(start, out / "last")
    merge_weights([out / "last"], out / MODEL, dtype=torch.bfloat16)
    shutil.rmtree(out / "last")


def last_checkpoint(out: Path) -> Path | None:
    """The last checkpoint that was written to its end: the trainer's state comes last."""
    found = [path.parent for path in out.glob("checkpoint-*/trainer_state.json")]
    return max(found, key=_step, default=None)


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0


def _require_place(out: Path, recipe: Recipe) -> None:
    """Raise `UsageError` where the folder holds something else than this recipe's training."""
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    try:
        found = json.loads((out / RECIPE).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{out}: is not empty, and holds no training ({error})") from error
    wanted = json.loads(msgspec.json.encode(recipe))
    keys = {*found, *wanted} - MAY_DIFFER
    if changed := sorted(key for key in keys if found.get(key) != wanted.get(key)):
        raise UsageError(
            f"{out}: holds a training by another recipe (changed: {', '.join(changed)}); choose "
            "another folder, or train with the recipe in its recipe.json"
        )


def _arguments(recipe: Recipe, out: Path) -> Any:
    """The recipe as `TrainingArguments`."""
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
        "optim": "adamw_torch_fused" if has_gpu else "adamw_torch",
        "bf16": True,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "logging_strategy": "steps",
        "logging_steps": recipe.log_every,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
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
        arguments = import_module("transformers").TrainingArguments(**(settings | recipe.trainer))
    except (TypeError, ValueError, ImportError) as error:
        raise UsageError(f"the recipe's 'trainer' does not fit transformers: {error}") from error
    if arguments.world_size != world:
        raise UsageError(
            f"{world} processes were started, and transformers works with {arguments.world_size}: "
            "each would train for itself; check torchrun's and the recipe's settings"
        )
    return arguments
