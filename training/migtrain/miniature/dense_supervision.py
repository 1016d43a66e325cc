"""Dense supervision of the vision encoder: every token is trained on what its cell shows.

The paper starts from Qwen2-VL-7B-Instruct, whose vision encoder is pretrained. The miniature's is
not, and learns far slower from answers, which are a few digits about a whole image set. Auxiliary
linear heads predict class, colour, mark and box of each token's cell; they are thrown away
afterwards, and what they could predict stays in the tokens for the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from migbench.mini import Plan, plan
from migbench.mini.shapes import COLOURS
from migtrain.miniature.cell_labels import CLASS_NAMES, CellLabels, draw_with_objects, label_cells
from migtrain.miniature.data import TrainingData
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.pixels import Grid, Pixels
from migtrain.miniature.scenes import GROUP

BINS = 50
"""An edge is predicted as shares of the bins beside it; bins are 1/50 of the image apart."""
DIGITS = 2
"""So many leading digits of an edge in thousandths are predicted, as answers write them."""
TOKEN_SIZE = 0.3
"""Root mean square of the whitened tokens' numbers."""
LEAST_SPREAD = 1e-3
"""Directions in which the tokens vary less than this, beside the widest, count as if they did."""
CLASS_WEIGHT = COLOUR_WEIGHT = 4.0
"""What the names of objects count beside their boxes, which have twelve parts."""
PROBED_SCENES = 32
"""The test scenes by which the heads are measured in the end."""
BACKGROUND_WEIGHT = 0.2
"""What a background token's box counts beside an object's."""


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """The images of one scene, cut into patches, and the labels of their cells."""

    patches: tuple[NDArray[np.uint8], ...]
    grids: tuple[Grid, ...]
    labels: tuple[CellLabels, ...]


class DenseExamples:
    """The scenes of a training by their place, as a data set for torch."""

    def __init__(self, data: TrainingData, encoder: Encoder) -> None:
        self._data = data
        self._pixels = encoder.pixels

    def __len__(self) -> int:
        return len(self._data.mixture)

    def __getitem__(self, place: int) -> LabelledImages:
        """The scene at a place."""
        name, number = self._data.mixture.draw(place)
        source = self._data.sources[name]
        return _labelled(self._pixels, source.plan(number))


def _labelled(pixels: Pixels, scene: Plan) -> LabelledImages:
    images, objects = draw_with_objects(scene)
    prepared = [pixels.patches(image) for image in images]
    labels = tuple(
        label_cells(seen, *pixels.cells(grid))
        for seen, (_, grid) in zip(objects, prepared, strict=True)
    )
    return LabelledImages(
        tuple(each for each, _ in prepared), tuple(grid for _, grid in prepared), labels
    )


def collate(examples: Sequence[LabelledImages]) -> dict[str, Tensor]:
    """One batch: all images one after another."""
    labels = [label for example in examples for label in example.labels]
    grids = [(1, *grid) for example in examples for grid in example.grids]
    arrays: dict[str, NDArray[Any]] = {
        "patches": np.concatenate([each for example in examples for each in example.patches]),
        "image_grid_thw": np.array(grids),
        "classes": np.concatenate([each.classes for each in labels]),
        "colours": np.concatenate([each.colours for each in labels]),
        "marked": np.concatenate([each.marked for each in labels]),
        "boxes": np.concatenate([each.boxes for each in labels]),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class DenselySupervisedEncoder(nn.Module):
    """A vision encoder with auxiliary prediction heads; its output is the loss."""

    def __init__(self, tower: nn.Module, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.heads = nn.ModuleDict(
            {
                "class_index": nn.Linear(width, 1 + len(CLASS_NAMES)),
                "colour": nn.Linear(width, len(COLOURS)),
                "mark": nn.Linear(width, 1),
                "edges": nn.Linear(width, 4 * (BINS + 1)),
                "digits": nn.Linear(width, 4 * DIGITS * 10),
            }
        )

    def predict(self, pixel_values: Tensor, image_grid_thw: Tensor) -> tuple[Tensor, ...]:
        """Logits of each token: class (0 is background), colour, mark, edges and their digits."""
        found: Any = self.tower(pixel_values, grid_thw=image_grid_thw)
        tokens = self.norm(found.pooler_output)
        class_index, colour, mark, edges, digits = (head(tokens) for head in self.heads.values())
        edges, digits = edges.view(-1, 4, BINS + 1), digits.view(-1, 4 * DIGITS, 10)
        return class_index, colour, mark[:, 0], edges, digits

    def forward(
        self,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        classes: Tensor,
        colours: Tensor,
        marked: Tensor,
        boxes: Tensor,
    ) -> dict[str, Tensor]:
        """The mean loss of a batch's tokens."""
        class_index, colour, mark, edges, digits = (
            each.float() for each in self.predict(pixel_values, image_grid_thw)
        )
        is_object = classes >= 0
        weight = torch.where(is_object, 1.0, BACKGROUND_WEIGHT)
        edge_loss = -(edge_shares(boxes) * edges.log_softmax(-1)).sum((-1, -2))
        digit_loss = functional.cross_entropy(
            digits.flatten(0, 1), edge_digits(boxes).flatten(), reduction="none"
        )
        edge_loss += digit_loss.view(-1, 4 * DIGITS).sum(-1)
        loss = (
            CLASS_WEIGHT * functional.cross_entropy(class_index, classes + 1)
            + COLOUR_WEIGHT * functional.cross_entropy(colour, colours, ignore_index=-1)
            + functional.binary_cross_entropy_with_logits(mark, marked)
            + (edge_loss * weight).sum() / weight.sum()
        )
        return {"loss": loss}


@torch.no_grad()
def probe_accuracy(learner: DenselySupervisedEncoder, encoder: Encoder) -> dict[str, float]:
    """For how many of the objects' cells in test scenes the heads predict the name, in percent.

    The scenes are those of MIG-Mini's test split whose objects have names: its combinations of kind
    and colour are not trained on. What is not predicted here cannot be chosen by.
    """
    plans = [plan(GROUP, number, split="test") for number in range(PROBED_SCENES)]
    batch = collate([_labelled(encoder.pixels, each) for each in plans])
    device = next(learner.parameters()).device
    was_training = learner.training
    learner.eval()
    class_index, colour, *_ = learner.predict(
        encoder.pixels.normalise(batch["patches"].to(device)), batch["image_grid_thw"].to(device)
    )
    learner.train(was_training)
    is_object = batch["classes"] >= 0
    kinds = class_index.argmax(-1).cpu() - 1 == batch["classes"]
    colours = colour.argmax(-1).cpu() == batch["colours"]
    return {
        name: 100 * right[is_object].float().mean().item()
        for name, right in (("kinds", kinds), ("colours", colours))
    }


def edge_digits(boxes: Tensor) -> Tensor:
    """The leading digits of the edges of boxes in 0-1, shape (n, 4), in thousandths: (n, 4 * 2)."""
    thousandths = (boxes * 1000).round().long().clamp(0, 999)
    places = torch.tensor([100, 10], device=boxes.device)
    return (thousandths[..., None] // places % 10).flatten(1)


@torch.no_grad()
def whiten(tower: Any, pixel_values: Tensor, image_grid_thw: Tensor) -> None:
    """Whiten the encoder's output (ZCA) by changing its last layer.

    Tokens get the size `TOKEN_SIZE` and the mean 0. Most of their variance is of boxes, a
    thousandth of classes and colours, which a language model would learn late. The map is
    invertible, so that what the heads could predict stays. Directions with less than
    `LEAST_SPREAD` of the largest variance are not enlarged further. It takes more tokens than a
    token has numbers.
    """
    last = tower.merger.mlp[-1]
    tokens = tower(pixel_values, grid_thw=image_grid_thw).pooler_output.float()
    mean = tokens.mean(0)
    apart = tokens - mean
    whitening = whitening_map(apart, lambda spread: LEAST_SPREAD * spread.max())
    whitening *= TOKEN_SIZE / (apart @ whitening).square().mean().sqrt()
    last.weight.copy_(whitening @ last.weight)
    last.bias.copy_(whitening @ (last.bias - mean))


def whitening_map(apart: Tensor, floor: Callable[[Tensor], Tensor]) -> Tensor:
    """The ZCA whitening matrix, shape (width, width), of tokens.

    ``apart`` (n, width) are tokens less their mean. ``floor`` makes of their variances what is
    added to each: directions that hardly vary are noise.
    """
    spread, directions = torch.linalg.eigh(apart.T @ apart / len(apart))
    whitening: Tensor = directions * (spread + floor(spread)).rsqrt() @ directions.T
    return whitening


def edge_shares(boxes: Tensor) -> Tensor:
    """Boxes in 0-1, shape (n, 4), as shares of the two bins beside each edge: (n, 4, BINS + 1)."""
    places = torch.arange(BINS + 1, device=boxes.device)
    return (1 - (boxes[..., None] * BINS - places).abs()).clamp(min=0)
