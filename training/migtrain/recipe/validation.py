"""Validation while LLaMA-Factory trains: Acc@0.5 every so many steps, logged beside the loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from transformers import AutoProcessor, TrainerCallback

from migbench.data.images import locate_data
from migtrain.validation import ValidationScore, ValidationSet, validate

VALIDATION_LOG = "validation.jsonl"
"""One line a validation, in the training's folder."""


class ValidationSettings(msgspec.Struct, frozen=True):
    """How a model is validated: every so many steps, on some instances of each task of ``data``.

    ``data`` is the folder of MIG-Bench or MIG-Mini, ``out`` the training's.
    """

    out: str
    data: str
    every: int
    per_task: int
    batch: int = 8
    max_new_tokens: int = 64


def validation_callback(settings: ValidationSettings, config: Mapping[str, Any]) -> TrainerCallback:
    """A callback for a stage's whole configuration. Raises `UsageError` without questions."""
    out = Path(settings.out)
    questions = ValidationSet(
        locate_data(Path(settings.data)),
        per_task=settings.per_task,
        max_new_tokens=settings.max_new_tokens,
        tasks=(),
    )
    load: Any = AutoProcessor.from_pretrained
    processor = load(config["model_name_or_path"])

    class Validation(TrainerCallback):
        def on_step_end(
            self, args: Any, state: Any, control: Any, model: Any = None, **others: Any
        ) -> None:
            is_last = state.global_step == state.max_steps
            if state.global_step % settings.every and not is_last:
                return
            score = validate(model, processor, questions, settings.batch)
            if state.is_world_process_zero:
                state.log_history.append(_log_entry(state, score))
                _append(out / VALIDATION_LOG, _log_entry(state, score))

    return Validation()


def _log_entry(state: Any, score: ValidationScore) -> dict[str, Any]:
    """As transformers' logs have it, so that trainer_state.json holds it beside the loss."""
    tasks = {f"eval_acc@0.5/{task}": value for task, value in score.tasks.items()}
    return {
        "step": state.global_step,
        "epoch": state.epoch,
        "eval_acc@0.5": score.macro,
        **tasks,
    }


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
