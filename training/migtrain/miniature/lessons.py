"""Lessons: what learns, from which examples, in which batches. A recipe's ``objective`` names one.

``answers`` is the paper's: the whole model learns to answer. ``seeing`` is where a miniature
begins: its vision tower learns what its tokens show (see `migtrain.miniature.seeing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from migtrain.miniature.data import TrainingData, TrainingExamples
from migtrain.miniature.encoding import Encoded, Encoder
from migtrain.miniature.importing import untyped
from migtrain.miniature.models import load_model
from migtrain.miniature.recipe import Recipe
from migtrain.miniature.sources import Example

SKIPPED = "skipped.jsonl"
"""The examples that could not be used, in the training's folder."""


SETTLED_BY = 64
"""The scenes by whose tokens the vision tower's last layer is settled."""
PRIMED_BY = 512
"""The scenes by whose tokens a fresh language model is primed."""


class Lesson(Protocol):
    """One objective at work. ``model`` is what is kept in the end, ``learner`` what is stepped."""

    model: Any
    learner: Any
    examples: Any

    def collate(self, examples: Any) -> dict[str, Any]:
        """One batch, its pixels not yet normalised."""

    @property
    def pointing(self) -> Any | None:
        """What is told beside the answers: a `migtrain.miniature.pointing.Pointing`."""

    def finish(self) -> dict[str, float]:
        """What is to be done to the model once all is learnt; what was measured in the end."""


class Answers:
    """The model learns to answer and, where the recipe wants it, where to look for that."""

    def __init__(
        self, recipe: Recipe, start: Path, data: TrainingData, encoder: Encoder, out: Path
    ) -> None:
        self.model = self.learner = load_model(recipe.model, start)
        encode: Callable[[Example], Encoded] = partial(_encode, encoder)
        self.collate: Any = encoder.batch
        self.pointing: Any | None = None
        if recipe.pointing:
            from migtrain.miniature.looks import LookingEncoder
            from migtrain.miniature.pointing import Pointing, collate

            encode, self.collate = LookingEncoder(encoder), partial(collate, encoder)
            self.pointing = Pointing(self.model, recipe.pointing)
        self.examples = TrainingExamples(data, encode, out / SKIPPED, recipe.seed)

    def finish(self) -> dict[str, float]:
        """Nothing more."""
        return {}


def _encode(encoder: Encoder, example: Example) -> Encoded:
    return encoder.encode(example.conversation, example.images)


class Sight:
    """The vision tower learns to see, with heads that are thrown away."""

    pointing = None

    def __init__(
        self,
        recipe: Recipe,
        start: Path,
        data: TrainingData,
        encoder: Encoder,
        checkpoint: Path | None,
    ) -> None:
        from migtrain.miniature.seeing import Seeing, SeeingExamples, collate

        self.model = load_model(recipe.model, start)
        untyped("torch").manual_seed(recipe.seed)
        self.learner = Seeing(self.model.model.visual, self.model.config.text_config.hidden_size)
        if checkpoint is not None:
            weights = untyped("safetensors.torch").load_file(checkpoint / "model.safetensors")
            self.learner.load_state_dict(weights)
        self.examples = SeeingExamples(data, encoder)
        self.collate = collate
        self._encoder = encoder
        self._recipe = recipe

    def finish(self) -> dict[str, float]:
        """Spread the tokens evenly, in the size of the language model's own, and prime that."""
        from migtrain.miniature.seeing import names_read, settle

        read = names_read(self.learner, self._encoder)
        tower = self.model.model.visual
        batch = next(self._scenes(SETTLED_BY))
        settle(tower, batch["pixel_values"], batch["image_grid_thw"])
        if self._recipe.primed:
            self._prime(tower)
        return read

    def _scenes(self, count: int) -> Iterator[dict[str, Any]]:
        """The first scenes, so many at a time as the tower is settled by."""
        count = min(count, len(self.examples))
        for start in range(0, count, SETTLED_BY):
            places = range(start, min(start + SETTLED_BY, count))
            batch = self.collate([self.examples[place] for place in places])
            patches = batch.pop("patches").to(self.model.device)
            batch["pixel_values"] = self._encoder.pixels.normalise(patches)
            batch["image_grid_thw"] = batch["image_grid_thw"].to(self.model.device)
            yield batch

    def _prime(self, tower: Any) -> None:
        from migtrain.miniature.priming import prime

        torch = untyped("torch")
        shown: dict[str, list[Any]] = {"tokens": [], "meanings": [], "colours": [], "boxes": []}
        for batch in self._scenes(PRIMED_BY):
            with torch.no_grad():
                seen = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
            batch["tokens"] = seen.pooler_output.float().cpu()
            for name, parts in shown.items():
                parts.append(batch[name])
        language_model = self.model.model.language_model.cpu()
        prime(
            language_model,
            **{name: torch.cat(parts) for name, parts in shown.items()},
            token_id=self._encoder.token_id,
            seed=self._recipe.seed,
        )


def make_lesson(
    recipe: Recipe,
    start: Path,
    checkpoint: Path | None,
    data: TrainingData,
    encoder: Encoder,
    out: Path,
) -> Lesson:
    """The lesson of a recipe, begun at the model ``start`` or gone on with at a checkpoint."""
    if recipe.objective == "seeing":
        return Sight(recipe, start, data, encoder, checkpoint)
    return Answers(recipe, _with_weights(checkpoint) or start, data, encoder, out)


def _with_weights(checkpoint: Path | None) -> Path | None:
    """A checkpoint that has whole tensors; FSDP can also keep each process's share of them."""
    return checkpoint if checkpoint and any(checkpoint.glob("*.safetensors")) else None
