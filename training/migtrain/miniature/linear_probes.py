"""Linear probes of a vision encoder's tokens: discriminants of classes, directions of boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from migtrain.miniature.dense_supervision import edge_digits, whitening_map

NOISE_FLOOR = 0.01
"""Of the mean variance within classes, added to each direction's."""
EDGES_SHARE = 20.0
"""What an edge counts, and its square, beside what tells one of its digits from others."""


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear map of tokens, shape (numbers, width), that tells classes apart.

    ``zero`` (numbers,) is its output for the mean of the classes, ``classes`` are the values that
    occur, ``centres`` (classes, numbers) its outputs for each, less ``zero``.
    """

    weight: Tensor
    zero: Tensor
    classes: Tensor
    centres: Tensor

    def scaled(self, score: float) -> LinearProbe:
        """Enlarged so that the product of two outputs for one class is so large, in the mean."""
        by = (score / self.centres.square().sum(1).mean()).sqrt()
        return LinearProbe(by * self.weight, by * self.zero, self.classes, by * self.centres)


def fit_class_probe(tokens: Tensor, classes: Tensor, numbers: int) -> LinearProbe:
    """Fisher's linear discriminants of tokens, shape (n, width), by their classes, shape (n,)."""
    found, place = torch.unique(classes, return_inverse=True)
    means = torch.stack([tokens[place == each].mean(0) for each in range(len(found))])
    whitening = whitening_map(tokens - means[place], lambda spread: NOISE_FLOOR * spread.mean())
    middle = means.mean(0)
    *_, widest = torch.linalg.svd((means - middle) @ whitening, full_matrices=False)
    weight = widest[:numbers] @ whitening
    return LinearProbe(weight, weight @ middle, found, (means - middle) @ weight.T)


def fit_box_directions(tokens: Tensor, boxes: Tensor, numbers: int) -> Tensor:
    """The directions, shape (numbers, width), in which tokens tell their objects' boxes best.

    Boxes are in 0-1, shape (n, 4): their edges and the leading digits of those in thousandths.
    """
    digits = [fit_class_probe(tokens, each, 9).weight for each in edge_digits(boxes).unbind(1)]
    ones = torch.cat([tokens, torch.ones(len(tokens), 1)], 1)
    edges = torch.linalg.lstsq(ones, torch.cat([boxes, boxes.square()], 1)).solution[:-1].T
    every = torch.cat([*digits, EDGES_SHARE * edges])
    widest: Tensor = torch.linalg.svd(every, full_matrices=False)[2]
    return widest[:numbers]


def span(*probes: LinearProbe) -> Tensor:
    """Orthogonal directions that the probes span, shape (numbers, width)."""
    directions: Tensor = torch.linalg.qr(torch.cat([each.weight for each in probes]).T)[0]
    return directions.T


def quietest(tokens: Tensor, beside: Tensor, count: int) -> Tensor:
    """The directions in which tokens vary least, shape (count, width), orthogonal to others."""
    others = torch.eye(tokens.shape[1]) - beside.T @ beside
    spread = others @ (tokens.T @ tokens / len(tokens)) @ others
    directions: Tensor = torch.linalg.eigh(spread + 1e3 * beside.T @ beside)[1]
    return directions.T[:count]
