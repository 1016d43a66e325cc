"""Learning to see: the vision tower alone, taught what lies beneath each of its tokens.

The paper starts from Qwen2-VL-7B-Instruct, which sees already. A miniature has no such beginning,
and learning to see from answers alone takes far longer than learning to answer does: an answer is
a few digits about a whole image set, while here every token of every image is told what it shows.
Linear heads read meaning, colour, mark and box off the tokens; they are thrown away afterwards, and
what they could read stays in the tokens for the language model.
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

from migbench.errors import UsageError
from migbench.mini import Plan, plan
from migbench.mini.shapes import COLOURS
from migtrain.miniature.data import TrainingData
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.labels import MEANINGS, CellLabels, draw_with_things, label_cells
from migtrain.miniature.pixels import Grid, Pixels
from migtrain.miniature.sources import GROUP, SceneSource

BINS = 50
"""An edge is told as shares of the bins beside it; bins are 1/50 of the image apart."""
DIGITS = 2
"""So many leading digits of an edge in thousandths are told one by one, as answers write them."""
TOKEN_SIZE = 0.3
"""Root mean square of the tokens' numbers once the tower has learnt to see."""
LEAST_SPREAD = 1e-3
"""Directions in which the tokens vary less than this, beside the widest, count as if they did."""
MEANING_SHARE = COLOUR_SHARE = 4.0
"""What the names of things count beside their boxes, which have twelve parts."""
READ_SCENES = 32
"""The held-out scenes by which the heads are measured in the end."""
BACKGROUND_SHARE = 0.2
"""What a background token's box counts beside a thing's."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The images of one scene, cut into patches, and what their cells are to know."""

    patches: tuple[NDArray[np.uint8], ...]
    grids: tuple[Grid, ...]
    labels: tuple[CellLabels, ...]


class SeeingExamples:
    """The scenes of a training by their place, as a data set for torch."""

    def __init__(self, data: TrainingData, encoder: Encoder) -> None:
        """Raises `UsageError` where a source is not drawn: nothing is known of its images."""
        self._data = data
        self._pixels = encoder.pixels
        for name, source in data.sources.items():
            if not isinstance(source, SceneSource):
                raise UsageError(f"source {name}: only drawn scenes can be trained on by seeing")

    def __len__(self) -> int:
        return len(self._data.mixture)

    def __getitem__(self, place: int) -> Seen:
        """The scene at a place."""
        name, number = self._data.mixture.draw(place)
        source = self._data.sources[name]
        assert isinstance(source, SceneSource)
        return _seen(self._pixels, source.plan(number))


def _seen(pixels: Pixels, scene: Plan) -> Seen:
    images, things = draw_with_things(scene)
    prepared = [pixels.patches(image) for image in images]
    labels = tuple(
        label_cells(seen, *pixels.cells(grid))
        for seen, (_, grid) in zip(things, prepared, strict=True)
    )
    return Seen(tuple(each for each, _ in prepared), tuple(grid for _, grid in prepared), labels)


def collate(examples: Sequence[Seen]) -> dict[str, Tensor]:
    """One batch: all images one after another."""
    labels = [label for example in examples for label in example.labels]
    grids = [(1, *grid) for example in examples for grid in example.grids]
    arrays: dict[str, NDArray[Any]] = {
        "patches": np.concatenate([each for example in examples for each in example.patches]),
        "image_grid_thw": np.array(grids),
        "meanings": np.concatenate([each.meanings for each in labels]),
        "colours": np.concatenate([each.colours for each in labels]),
        "marked": np.concatenate([each.marked for each in labels]),
        "boxes": np.concatenate([each.boxes for each in labels]),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Seeing(nn.Module):
    """A vision tower with heads that read its tokens; its output is the loss."""

    def __init__(self, tower: nn.Module, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.heads = nn.ModuleDict(
            {
                "meaning": nn.Linear(width, 1 + len(MEANINGS)),
                "colour": nn.Linear(width, len(COLOURS)),
                "mark": nn.Linear(width, 1),
                "edges": nn.Linear(width, 4 * (BINS + 1)),
                "digits": nn.Linear(width, 4 * DIGITS * 10),
            }
        )

    def read(self, pixel_values: Tensor, image_grid_thw: Tensor) -> tuple[Tensor, ...]:
        """Logits of each token: meaning (0 is background), colour, mark, edges and their digits."""
        found: Any = self.tower(pixel_values, grid_thw=image_grid_thw)
        tokens = self.norm(found.pooler_output)
        meaning, colour, mark, edges, digits = (head(tokens) for head in self.heads.values())
        edges, digits = edges.view(-1, 4, BINS + 1), digits.view(-1, 4 * DIGITS, 10)
        return meaning, colour, mark[:, 0], edges, digits

    def forward(
        self,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        meanings: Tensor,
        colours: Tensor,
        marked: Tensor,
        boxes: Tensor,
    ) -> dict[str, Tensor]:
        """The mean loss of a batch's tokens."""
        meaning, colour, mark, edges, digits = (
            each.float() for each in self.read(pixel_values, image_grid_thw)
        )
        is_thing = meanings >= 0
        weight = torch.where(is_thing, 1.0, BACKGROUND_SHARE)
        edge_loss = -(edge_shares(boxes) * edges.log_softmax(-1)).sum((-1, -2))
        digit_loss = functional.cross_entropy(
            digits.flatten(0, 1), edge_digits(boxes).flatten(), reduction="none"
        )
        edge_loss += digit_loss.view(-1, 4 * DIGITS).sum(-1)
        loss = (
            MEANING_SHARE * functional.cross_entropy(meaning, meanings + 1)
            + COLOUR_SHARE * functional.cross_entropy(colour, colours, ignore_index=-1)
            + functional.binary_cross_entropy_with_logits(mark, marked)
            + (edge_loss * weight).sum() / weight.sum()
        )
        return {"loss": loss}


@torch.no_grad()
def names_read(learner: Seeing, encoder: Encoder) -> dict[str, float]:
    """How many of the things' cells in held-out scenes the heads name rightly, in percent.

    The scenes are those of MIG-Mini's test split whose things have names: its combinations of kind
    and colour are not trained on. What is not read here cannot be chosen by.
    """
    plans = [plan(GROUP, number, split="test") for number in range(READ_SCENES)]
    batch = collate([_seen(encoder.pixels, each) for each in plans])
    device = next(learner.parameters()).device
    was_training = learner.training
    learner.eval()
    meaning, colour, *_ = learner.read(
        encoder.pixels.normalise(batch["patches"].to(device)), batch["image_grid_thw"].to(device)
    )
    learner.train(was_training)
    is_thing = batch["meanings"] >= 0
    kinds = meaning.argmax(-1).cpu() - 1 == batch["meanings"]
    colours = colour.argmax(-1).cpu() == batch["colours"]
    return {
        name: 100 * right[is_thing].float().mean().item()
        for name, right in (("kinds", kinds), ("colours", colours))
    }


def edge_digits(boxes: Tensor) -> Tensor:
    """The leading digits of the edges of boxes in 0-1, shape (n, 4), in thousandths: (n, 4 * 2)."""
    thousandths = (boxes * 1000).round().long().clamp(0, 999)
    places = torch.tensor([100, 10], device=boxes.device)
    return (thousandths[..., None] // places % 10).flatten(1)


@torch.no_grad()
def settle(tower: Any, pixel_values: Tensor, image_grid_thw: Tensor) -> None:
    """Change the tower's last layer so that its tokens spread alike in all directions.

    They get the size `TOKEN_SIZE` and the mean 0. The heads read what they need however little of
    a token it is: most of it are boxes, colours and kinds are a thousandth. A language model that
    compares tokens would learn of boxes first, and of colours late. What the heads could read is
    still there, since nothing is lost but what hardly varies. Directions are not enlarged further
    than to `LEAST_SPREAD` of the largest variance. It takes more tokens than a token has numbers.
    """
    last = tower.merger.mlp[-1]
    tokens = tower(pixel_values, grid_thw=image_grid_thw).pooler_output.float()
    mean = tokens.mean(0)
    apart = tokens - mean
    even = evening(apart, lambda spread: LEAST_SPREAD * spread.max())
    even *= TOKEN_SIZE / (apart @ even).square().mean().sqrt()
    last.weight.copy_(even @ last.weight)
    last.bias.copy_(even @ (last.bias - mean))


def evening(apart: Tensor, floor: Callable[[Tensor], Tensor]) -> Tensor:
    """The symmetric map, shape (width, width), after which tokens spread alike in all directions.

    ``apart`` (n, width) are tokens less their mean. ``floor`` makes of their variances what is
    added to each: directions that hardly vary are noise.
    """
    spread, directions = torch.linalg.eigh(apart.T @ apart / len(apart))
    even: Tensor = directions * (spread + floor(spread)).rsqrt() @ directions.T
    return even


def edge_shares(boxes: Tensor) -> Tensor:
    """Boxes in 0-1, shape (n, 4), as shares of the two bins beside each edge: (n, 4, BINS + 1)."""
    places = torch.arange(BINS + 1, device=boxes.device)
    return (1 - (boxes[..., None] * BINS - places).abs()).clamp(min=0)
