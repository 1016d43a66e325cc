"""A recipe's data: drawn scenes, mixed, and each example encoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from migtrain.miniature.encoding import Encoded
from migtrain.miniature.mixture import Mixture
from migtrain.miniature.recipe import Recipe
from migtrain.miniature.scenes import Example, SceneSource


@dataclass(frozen=True)
class TrainingData:
    """All sources of a recipe, and which of them each example comes from."""

    sources: Mapping[str, SceneSource]
    mixture: Mixture

    def size(self, place: int) -> tuple[int, str]:
        """About how many images the example at a place shows, and of which source."""
        name, number = self.mixture.draw(place)
        return self.sources[name].images(number), name


def open_data(recipe: Recipe) -> TrainingData:
    """What a recipe trains on. Raises `UsageError` for a task that is not asked as it says."""
    mixture = Mixture(recipe.mixture_stages, recipe.seed)
    sources = {}
    for name in mixture.totals():
        spec = recipe.sources[name]
        sources[name] = SceneSource(
            spec.task,
            seed=recipe.seed,
            turns=spec.turns,
            at_once=spec.at_once,
            max_objects=spec.max_objects,
            box_step=spec.box_step,
        )
    return TrainingData(sources, mixture)


class TrainingExamples:
    """The examples of a training by their place, encoded: a data set as torch takes one."""

    def __init__(self, data: TrainingData, encode: Callable[[Example], Encoded]) -> None:
        self._data = data
        self._encode = encode

    def __len__(self) -> int:
        return len(self._data.mixture)

    def __getitem__(self, place: int) -> Encoded:
        """The example at a place."""
        name, number = self._data.mixture.draw(place)
        return self._encode(self._data.sources[name].example(number))
