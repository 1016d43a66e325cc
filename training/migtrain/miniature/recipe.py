"""Recipes of the miniature: everything that decides what a training makes, as a YAML file.

The packaged ones lie under ``configs`` and are known by name. They are frozen: `migician-mini` was
made by them, and nothing is kept here that they do not use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from migbench.errors import DataError, UsageError
from migbench.util.yaml_files import as_record, read_yaml
from migtrain.miniature.mixture import WeightedStage
from model_adapters.tiny_qwen2_vl import Sizes

CONFIGS = Path(__file__).parent / "configs"

Whole = Annotated[int, Meta(ge=1)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records of a recipe are written: keys alone, and none that is not known."""


class ModelChoice(_Record, frozen=True):
    """What is trained: a checkpoint's folder, or a new model of these ``sizes``.

    A new model's tokenizer joins bytes by the packaged ``bpe_merges`` of this name, and its chat
    template says ``Picture 1:`` before an image where ``numbered``. ``frozen: [vision]`` keeps the
    vision encoder's weights, but for the projector's. ``attention: ragged`` is
    `migtrain.miniature.ragged_attention`.
    """

    checkpoint: str | None = None
    sizes: Sizes | None = None
    bpe_merges: str | None = None
    numbered: bool = False
    frozen: tuple[Literal["vision"], ...] = ()
    attention: Literal["ragged"] | None = None

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (self.sizes is None):
            raise ValueError("give either 'checkpoint' or 'sizes'")


class Scenes(_Record, frozen=True, tag_field="from", tag="scenes"):
    """Scenes of a MIG-Mini task, drawn as they are needed, with up to ``turns`` questions each.

    ``at_once`` asks one question for all targets of a scene instead. Where objects are found by
    their names, an image shows at most ``max_objects``. Boxes are written in steps of ``box_step``
    thousandths: digits that a small model cannot know hide those that it could learn.
    """

    task: str
    turns: Whole = 1
    at_once: bool = False
    max_objects: Whole | None = None
    box_step: Whole = 1


class ScheduleStage(_Record, frozen=True):
    """So many steps in which sources are sampled with these weights: whole numbers."""

    steps: Whole
    shares: Annotated[dict[str, Annotated[int, Meta(ge=0)]], Meta(min_length=1)]


class Batch(_Record, frozen=True):
    """Examples of one optimiser step, over all processes, and how many one has at once."""

    size: Whole
    per_device: Whole


class Optimiser(_Record, frozen=True):
    """AdamW, or Muon with it (see `migtrain.miniature.optimisers`), and its schedule."""

    learning_rate: Annotated[float, Meta(gt=0)]
    name: Literal["adamw", "muon"] = "adamw"
    schedule: str = "cosine"
    warmup_ratio: Annotated[float, Meta(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    beta2: Annotated[float, Meta(gt=0, lt=1)] = 0.999


class ValidationSpec(_Record, frozen=True):
    """Questions of MIG-Mini, ``per_task`` of each task, asked every so many steps."""

    every: Whole
    per_task: Whole = 10
    split: Literal["test"] = "test"
    batch: Whole = 16
    max_new_tokens: Whole = 48


class Recipe(_Record, frozen=True):
    """A training.

    ``objective`` is supervised fine-tuning (``sft``) or ``dense-supervision`` of the vision
    encoder, which with ``structured_initialisation`` ends with a fresh language model. In
    fine-tuning, each attention target counts like ``attention_supervision`` tokens of an answer.
    ``trainer`` holds further arguments of transformers' `TrainingArguments`.
    """

    title: str
    model: ModelChoice
    sources: dict[str, Scenes]
    stages: Annotated[tuple[ScheduleStage, ...], Meta(min_length=1)]
    batch: Batch
    optimiser: Optimiser
    max_tokens: Whole
    objective: Literal["sft", "dense-supervision"] = "sft"
    structured_initialisation: bool = False
    attention_supervision: Annotated[float, Meta(ge=0)] = 0.0
    seed: int = 0
    workers: Annotated[int, Meta(ge=0)] = 4
    log_every: Whole = 10
    save_every: Whole = 1000
    validation: ValidationSpec | None = None
    trainer: dict[str, Any] = {}

    def __post_init__(self) -> None:
        named = {name for stage in self.stages for name in stage.shares}
        if unknown := sorted(named - self.sources.keys()):
            raise ValueError(f"stages name sources that do not exist: {', '.join(unknown)}")
        if self.structured_initialisation and self.objective != "dense-supervision":
            raise ValueError("'structured_initialisation' goes with 'objective: dense-supervision'")
        if self.batch.size % self.batch.per_device:
            raise ValueError("'batch.size' must be a multiple of 'batch.per_device'")
        if self.save_every % self.log_every:
            raise ValueError("'save_every' must be a multiple of 'log_every'")

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(stage.steps for stage in self.stages)

    @property
    def mixture_stages(self) -> list[WeightedStage]:
        """The stages, in examples."""
        return [WeightedStage(each.steps * self.batch.size, each.shares) for each in self.stages]

    def with_steps(self, steps: int) -> Recipe:
        """The same recipe in so many steps, shared among its stages in proportion.

        Raises `UsageError` for fewer steps than stages.
        """
        if steps < len(self.stages):
            raise UsageError(f"--steps {steps}: this recipe has {len(self.stages)} stages")
        ends = [0]
        for number, stage in enumerate(self.stages, start=1):
            before = sum(each.steps for each in self.stages[: number - 1])
            end = round((before + stage.steps) * steps / self.steps)
            left = len(self.stages) - number
            ends.append(min(max(end, ends[-1] + 1), steps - left))
        stages = tuple(
            msgspec.structs.replace(stage, steps=end - start)
            for stage, start, end in zip(self.stages, ends, ends[1:], strict=False)
        )
        return msgspec.structs.replace(self, stages=stages, trainer=self._decaying_in(steps))

    def _decaying_in(self, steps: int) -> dict[str, Any]:
        """The trainer's arguments, the learning rate falling over the same share of the steps."""
        schedule = self.trainer.get("lr_scheduler_kwargs", {})
        if "num_decay_steps" not in schedule:
            return self.trainer
        decay = max(1, round(schedule["num_decay_steps"] * steps / self.steps))
        return {**self.trainer, "lr_scheduler_kwargs": {**schedule, "num_decay_steps": decay}}


def recipe_names() -> list[str]:
    """The packaged recipes."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def find_recipe(name: str) -> Recipe:
    """A packaged recipe by its name, or the one in a file.

    Raises `UsageError` naming the choices, `DataError` naming file and field.
    """
    path = CONFIGS / f"{name}.yaml" if name in recipe_names() else Path(name)
    if not path.is_file():
        raise UsageError(
            f"--config {name}: no such file, and no recipe of that name "
            f"({', '.join(recipe_names())})"
        )
    try:
        return as_record(read_yaml(path), Recipe, path)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
