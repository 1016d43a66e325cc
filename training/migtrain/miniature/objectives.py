"""Training objectives: what is trained, on which examples, in which batches.

``sft`` is the paper's: supervised fine-tuning on answers. ``dense-supervision`` is where the
miniature begins: its vision encoder is trained on what each of its tokens shows
(`migtrain.miniature.dense_supervision`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file

from migtrain.miniature.attention_supervision import AttentionSupervision
from migtrain.miniature.attention_supervision import collate as collate_with_targets
from migtrain.miniature.attention_targets import AttentionTargetEncoder
from migtrain.miniature.data import TrainingData, TrainingExamples
from migtrain.miniature.dense_supervision import (
    DenseExamples,
    DenselySupervisedEncoder,
    collate,
    probe_accuracy,
    whiten,
)
from migtrain.miniature.encoding import Encoded, Encoder
from migtrain.miniature.models import load_model
from migtrain.miniature.recipe import Recipe
from migtrain.miniature.scenes import Example
from migtrain.miniature.structured_initialisation import initialise

WHITENING_SCENES = 64
"""The scenes by whose tokens the vision encoder's output is whitened."""
INITIALISATION_SCENES = 512
"""The scenes by whose tokens a fresh language model is initialised."""


class TrainingObjective(Protocol):
    """One objective at work. ``model`` is what is kept in the end, ``learner`` what is stepped."""

    model: Any
    learner: Any
    examples: Any

    def collate(self, examples: Any) -> dict[str, Any]:
        """One batch, its pixels not yet normalised."""

    @property
    def attention_supervision(self) -> AttentionSupervision | None:
        """What is added to the loss of the answers."""

    def finish(self) -> dict[str, float]:
        """What is to be done to the model after the last step; what was measured in the end."""


class SupervisedFineTuning:
    """The model is trained on answers and, where the recipe wants it, on attention targets."""

    def __init__(self, recipe: Recipe, start: Path, data: TrainingData, encoder: Encoder) -> None:
        self.model = self.learner = load_model(recipe.model, start)
        encode: Callable[[Example], Encoded] = partial(_encode, encoder)
        self.collate: Any = encoder.batch
        self.attention_supervision: AttentionSupervision | None = None
        if recipe.attention_supervision:
            encode = AttentionTargetEncoder(encoder)
            self.collate = partial(collate_with_targets, encoder)
            self.attention_supervision = AttentionSupervision(
                self.model, recipe.attention_supervision
            )
        self.examples = TrainingExamples(data, encode)

    def finish(self) -> dict[str, float]:
        """Nothing more."""
        return {}


def _encode(encoder: Encoder, example: Example) -> Encoded:
    return encoder.encode(example.conversation, example.images)


class DenseSupervision:
    """The vision encoder is trained with auxiliary prediction heads, which are thrown away."""

    attention_supervision = None

    def __init__(
        self,
        recipe: Recipe,
        start: Path,
        data: TrainingData,
        encoder: Encoder,
        checkpoint: Path | None,
    ) -> None:
        self.model = load_model(recipe.model, start)
        torch.manual_seed(recipe.seed)
        width = self.model.config.text_config.hidden_size
        self.learner = DenselySupervisedEncoder(self.model.model.visual, width)
        if checkpoint is not None:
            self.learner.load_state_dict(load_file(checkpoint / "model.safetensors"))
        self.examples = DenseExamples(data, encoder)
        self.collate = collate
        self._encoder = encoder
        self._recipe = recipe

    def finish(self) -> dict[str, float]:
        """Whiten the vision encoder's output, and initialise the language model by it."""
        accuracy = probe_accuracy(self.learner, self._encoder)
        tower = self.model.model.visual
        batch = next(self._scenes(WHITENING_SCENES))
        whiten(tower, batch["pixel_values"], batch["image_grid_thw"])
        if self._recipe.structured_initialisation:
            self._initialise(tower)
        return accuracy

    def _scenes(self, count: int) -> Iterator[dict[str, Any]]:
        """The first scenes, so many at a time as the output is whitened by."""
        count = min(count, len(self.examples))
        for start in range(0, count, WHITENING_SCENES):
            places = range(start, min(start + WHITENING_SCENES, count))
            batch = self.collate([self.examples[place] for place in places])
            patches = batch.pop("patches").to(self.model.device)
            batch["pixel_values"] = self._encoder.pixels.normalise(patches)
            batch["image_grid_thw"] = batch["image_grid_thw"].to(self.model.device)
            yield batch

    def _initialise(self, tower: Any) -> None:
        found: dict[str, list[Any]] = {"tokens": [], "classes": [], "colours": [], "boxes": []}
        for batch in self._scenes(INITIALISATION_SCENES):
            with torch.no_grad():
                output = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
            batch["tokens"] = output.pooler_output.float().cpu()
            for name, parts in found.items():
                parts.append(batch[name])
        initialise(
            self.model.model.language_model.cpu(),
            **{name: torch.cat(parts) for name, parts in found.items()},
            token_id=self._encoder.token_id,
            seed=self._recipe.seed,
        )


def make_objective(
    recipe: Recipe, start: Path, checkpoint: Path | None, data: TrainingData, encoder: Encoder
) -> TrainingObjective:
    """A recipe's objective, begun at the model ``start`` or gone on with at a checkpoint."""
    if recipe.objective == "dense-supervision":
        return DenseSupervision(recipe, start, data, encoder, checkpoint)
    return SupervisedFineTuning(recipe, checkpoint or start, data, encoder)
