"""What is added to transformers' `Trainer`: the order of examples, and the pixels' last step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from migtrain.miniature.batching import StepwiseOrder
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.objectives import TrainingObjective

Log = Callable[[dict[str, Any]], None]
"""Called with a line of the training's log."""


def make_trainer(
    objective: TrainingObjective,
    arguments: Any,
    order: StepwiseOrder,
    encoder: Encoder,
    callbacks: list[Any],
    optimiser: Any | None = None,
) -> Any:
    """A `Trainer` that takes the examples in ``order`` and prints nothing.

    Where it is to go on from a checkpoint, the learner is to have that checkpoint's weights.
    Without an ``optimiser`` the arguments name one.
    """
    transformers = import_module("transformers")

    class StepwiseTrainer(transformers.Trainer):  # type: ignore[name-defined, misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> StepwiseOrder:
            return order

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            """Load the weights to go on from, where they are not in the model already.

            `Trainer` (5.19) looks for the names of its own version, which a saved Qwen2-VL has not;
            it warns, and would go on with the weights of the beginning; `train` has loaded them.
            """

        def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            """Move a batch to the device, and make its bytes the numbers that the model takes."""
            prepared = dict(super()._prepare_inputs(inputs))
            prepared["pixel_values"] = encoder.pixels.normalise(prepared.pop("patches"))
            return prepared

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """The answers' loss and, where a recipe wants it, that of attention supervision."""
            supervision = objective.attention_supervision
            if supervision is None:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            targets = supervision.take(inputs)
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            # The items are those of all processes, whose gradients are averaged.
            share = 1 if num_items_in_batch is None else self.accelerator.num_processes
            loss = loss + share * supervision.loss(targets, num_items_in_batch)
            return (loss, outputs) if return_outputs else loss

    trainer = StepwiseTrainer(
        model=objective.learner,
        args=arguments,
        train_dataset=objective.examples,
        data_collator=objective.collate,
        optimizers=(optimiser, None),
        callbacks=callbacks,
    )
    for printing in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(printing)
    return trainer


def log_callback(log: Log) -> Any:
    """A callback that passes on what the trainer logs: step, loss, learning rate, gradient norm."""
    kept = ("loss", "grad_norm", "learning_rate")

    class Logging(import_module("transformers").TrainerCallback):  # type: ignore[misc]
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any], **others: Any
        ) -> None:
            if state.is_world_process_zero and "loss" in logs:
                line = {name: float(logs[name]) for name in kept if name in logs}
                log({"step": state.global_step, **line})

    return Logging()


def validation_callback(every: int, measure: Callable[[Any], dict[str, Any]], log: Log) -> Any:
    """A callback that validates every so many steps, and at the last one."""

    class Validation(import_module("transformers").TrainerCallback):  # type: ignore[misc]
        def on_step_end(
            self, args: Any, state: Any, control: Any, model: Any = None, **others: Any
        ) -> None:
            if state.global_step % every == 0 or state.global_step == state.max_steps:
                measured = measure(model)
                if state.is_world_process_zero:
                    log({"step": state.global_step, **measured})

    return Validation()


def time_limit_callback(minutes: float, log_every: int) -> Any:
    """A callback that saves and ends once the time is up, after a step that is logged."""
    end = time.monotonic() + 60 * minutes

    class TimeLimit(import_module("transformers").TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if time.monotonic() > end and state.global_step % log_every == 0:
                control.should_save = True
                control.should_training_stop = True

    return TimeLimit()
