"""Recipes: everything that decides what a training makes, as a YAML file and as a record.

Packaged ones lie under ``configs`` and are known by name; a file of yours is given by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from migbench.errors import DataError, UsageError
from migbench.util.yaml_files import as_record, read_yaml
from migtrain.miniature.mixture import Phase
from model_adapters.tiny_qwen2_vl import Sizes

CONFIGS = Path(__file__).parent / "configs"

Whole = Annotated[int, Meta(ge=1)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records of a recipe are written: keys alone, and none that is not known."""


class ModelChoice(_Record, frozen=True):
    """What is trained: a checkpoint (folder or hub id), or a new model of these ``sizes``.

    A new model reads bytes, joined to longer tokens by the packaged ``merges`` of this name.
    ``frozen`` names parts whose weights stay: ``vision`` (the vision tower) and ``merger`` (which
    maps its output to the language model). ``shape`` is the name of a packaged configuration, by
    which a dry run knows a hub checkpoint. The pixel bounds are the checkpoint's own unless given.
    ``attention`` is a name of transformers', or ``ragged`` (see `migtrain.miniature.attention`).
    The chat template of a new model says ``Picture 1:`` before an image where ``numbered``.
    """

    checkpoint: str | None = None
    sizes: Sizes | None = None
    merges: str | None = None
    shape: str | None = None
    frozen: tuple[Literal["vision", "merger"], ...] = ()
    min_pixels: Whole | None = None
    max_pixels: Whole | None = None
    attention: str | None = None
    numbered: bool = False

    def __post_init__(self) -> None:
        if (self.checkpoint is None) == (self.sizes is None):
            raise ValueError("give either 'checkpoint' or 'sizes'")


class Records(_Record, frozen=True, tag_field="from", tag="records"):
    """Files of conversation records: patterns below the data folder.

    ``kinds`` leaves others out. ``kind`` is that of records that name none.
    """

    files: Annotated[tuple[str, ...], Meta(min_length=1)]
    kinds: tuple[str, ...] = ()
    kind: str | None = None


class Scenes(_Record, frozen=True, tag_field="from", tag="scenes"):
    """Scenes of a MIG-Mini task, drawn as they are needed, with up to ``turns`` questions each.

    ``at_once`` asks one question for all targets of a scene instead. Where things are found by
    their names, an image shows at most ``things`` of them. Boxes are written in steps of ``grain``
    thousandths: digits that a model cannot know only hide those that it could learn.
    """

    task: str
    turns: Whole = 1
    at_once: bool = False
    things: Whole | None = None
    grain: Whole = 1


class Stretch(_Record, frozen=True):
    """So many steps in which sources have these shares: whole numbers, such as percentages."""

    steps: Whole
    shares: Annotated[dict[str, Annotated[int, Meta(ge=0)]], Meta(min_length=1)]


class Batch(_Record, frozen=True):
    """Examples of one optimiser step, over all GPUs, and how many a GPU has at once."""

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
    max_grad_norm: Annotated[float, Meta(gt=0)] = 1.0


class Watch(_Record, frozen=True):
    """Held-out questions, asked every so many steps.

    They are MIG-Mini's, ``per_task`` of each task in this split and seed; or, where ``data`` names
    a folder below the data folder, the first ``per_task`` of each task of an annotation file there.
    ``tasks`` leaves others out.
    """

    every: Whole
    per_task: Whole = 10
    split: Literal["train", "test"] = "test"
    seed: int = 1
    data: str | None = None
    tasks: tuple[str, ...] = ()
    batch: Whole = 16
    max_new_tokens: Whole = 48


class Machine(_Record, frozen=True):
    """The machine that a recipe is written for; a dry run holds it to that."""

    gpus: Whole = 1
    gpu_memory_gib: Annotated[float, Meta(gt=0)] = 80.0


class Recipe(_Record, frozen=True):
    """A training.

    ``objective`` is what is learnt: ``answers``, or ``seeing`` (see `migtrain.miniature.seeing`);
    with ``primed``, seeing ends with a fresh language model (see `migtrain.miniature.priming`).
    While answers are learnt, each look that a token is told counts like ``pointing`` tokens of an
    answer (see `migtrain.miniature.pointing`).
    ``trainer`` holds further arguments of transformers' `TrainingArguments`.
    """

    title: str
    model: ModelChoice
    sources: dict[str, Records | Scenes]
    phases: Annotated[tuple[Stretch, ...], Meta(min_length=1)]
    batch: Batch
    optimiser: Optimiser
    max_tokens: Whole
    objective: Literal["answers", "seeing"] = "answers"
    primed: bool = False
    pointing: Annotated[float, Meta(ge=0)] = 0.0
    seed: int = 0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    saved_as: Literal["bfloat16", "float32"] = "bfloat16"
    workers: Annotated[int, Meta(ge=0)] = 4
    log_every: Whole = 10
    save_every: Whole = 1000
    keep: Whole = 2
    watch: Watch | None = None
    machine: Machine = Machine()
    trainer: dict[str, Any] = {}

    def __post_init__(self) -> None:
        named = {name for phase in self.phases for name in phase.shares}
        if unknown := sorted(named - self.sources.keys()):
            raise ValueError(f"phases name sources that do not exist: {', '.join(unknown)}")
        if self.primed and self.objective != "seeing":
            raise ValueError("'primed' goes with 'objective: seeing'")
        if self.batch.size % self.batch.per_device:
            raise ValueError("'batch.size' must be a multiple of 'batch.per_device'")
        if self.save_every % self.log_every:
            raise ValueError("'save_every' must be a multiple of 'log_every'")

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(phase.steps for phase in self.phases)

    @property
    def mixture_phases(self) -> list[Phase]:
        """The phases, in examples."""
        return [Phase(phase.steps * self.batch.size, phase.shares) for phase in self.phases]

    @property
    def used_sources(self) -> Mapping[str, Records | Scenes]:
        """The sources that have a share in any phase."""
        used = {name for phase in self.phases for name, share in phase.shares.items() if share}
        return {name: source for name, source in self.sources.items() if name in used}

    def with_steps(self, steps: int) -> Recipe:
        """The same recipe in so many steps: phases shrink or grow in proportion.

        Raises `UsageError` for fewer steps than phases.
        """
        if steps < len(self.phases):
            raise UsageError(f"--steps {steps}: this recipe has {len(self.phases)} phases")
        ends = [0]
        for number, phase in enumerate(self.phases, start=1):
            before = sum(each.steps for each in self.phases[: number - 1])
            end = round((before + phase.steps) * steps / self.steps)
            left = len(self.phases) - number
            ends.append(min(max(end, ends[-1] + 1), steps - left))
        phases = tuple(
            msgspec.structs.replace(phase, steps=end - start)
            for phase, start, end in zip(self.phases, ends, ends[1:], strict=False)
        )
        return msgspec.structs.replace(self, phases=phases)


def recipe_names() -> list[str]:
    """The packaged recipes."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def find_recipe(name: str) -> Recipe:
    """A packaged recipe by its name, or the one in a file.

    Raises `UsageError` naming the choices, `DataError` naming file and field.
    """
    packaged = CONFIGS / f"{name}.yaml"
    path = packaged if name in recipe_names() else Path(name)
    if not path.is_file():
        raise UsageError(
            f"--config {name}: no such file, and no recipe of that name "
            f"({', '.join(recipe_names())})"
        )
    try:
        return as_record(read_yaml(path), Recipe, path)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
