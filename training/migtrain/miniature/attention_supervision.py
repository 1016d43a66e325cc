"""Attention supervision: heads of the language model are trained on what they are to attend to.

A box's digits say which object was meant, and a small model that does not yet find anything learns
their averages first, for hours: an answer that takes several steps of attention gives no gradient
to one of them while another is missing. Here each step has a loss of its own, the cross-entropy
between a head's attention and its target (`migtrain.miniature.attention_targets`). Nothing is added
to the model, and nothing of this is needed after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from migtrain.miniature.encoding import Encoded, Encoder, TargetType

HEADS = {
    TargetType.PICTURE: (0, 0),
    TargetType.COLOUR: (0, 2),
    TargetType.NAME: (1, 0),
    TargetType.NUMBER: (1, 1),
    TargetType.MATCH: (1, 2),
    TargetType.KIND: (1, 3),
    TargetType.REFERENCE: (2, 0),
    TargetType.ANSWER: (3, 0),
}
"""Layer and head that are supervised by each type, counted round where a model has fewer.
A type comes after those that it builds on: likenesses and what is asked for, then the reference."""
WEIGHTS = {TargetType.NAME: 2.0, TargetType.ANSWER: 2.0}
"""What a target of a type counts, where it is not 1: these are few beside the likenesses."""
QUERIES, KEYS = "queries", "keys"


class AttentionSupervision:
    """The attention-alignment loss of a language model."""

    def __init__(self, model: Any, weight: float) -> None:
        """Record the attention of ``model``, which computes it with plain products for that."""
        language_model = model.model.language_model
        language_model.set_attn_implementation("eager")
        self._weight = weight
        self._attended: dict[int, Tensor] = {}
        self._layers = len(language_model.layers)
        for layer in {layer % self._layers for layer, _ in HEADS.values()}:
            attention = language_model.layers[layer].self_attn
            attention.register_forward_hook(partial(self._record, layer))

    def _record(
        self, layer: int, module: Any, arguments: Any, output: tuple[Tensor, Tensor]
    ) -> None:
        if module.training:
            self._attended[layer] = output[1]

    def take(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `loss` needs of a batch; the model gets the rest."""
        named = [f"{target_type}_{part}" for target_type in TargetType for part in (QUERIES, KEYS)]
        return {name: batch.pop(name) for name in named} | {"labels": batch["labels"]}

    def cross_entropies(self, batch: Mapping[str, Tensor]) -> dict[TargetType, Tensor]:
        """The attention cross-entropy of each target of the batch just seen, in nats.

        The mean over the target's queries.
        """
        cross_entropies = {}
        for target_type, (layer, head) in HEADS.items():
            row, place, target = batch[f"{target_type}_{QUERIES}"].unbind(1)
            keys = batch[f"{target_type}_{KEYS}"]
            attended = self._attended[layer % self._layers]
            heads = attended.shape[1]
            shares = (attended[row, head % heads, place].float() * keys[target]).sum(1)
            each = -shares.clamp(min=1e-30).log()
            counts = torch.bincount(target, minlength=len(keys))
            summed = each.new_zeros(len(keys)).index_add(0, target, each)
            cross_entropies[target_type] = summed / counts
        return cross_entropies

    def loss(self, batch: Mapping[str, Tensor], answer_tokens: Tensor | int | None) -> Tensor:
        """What is added to the loss of the batch that the model has just seen.

        As the loss of the answers it is shared by the ``answer_tokens`` of a whole step; without
        them, by those of the batch.
        """
        cross_entropies = self.cross_entropies(batch)
        total = torch.cat(
            [WEIGHTS.get(target_type, 1.0) * each for target_type, each in cross_entropies.items()]
        ).sum()
        count = (batch["labels"] >= 0).sum() if answer_tokens is None else answer_tokens
        self._attended.clear()
        return self._weight * total / count


def collate(encoder: Encoder, examples: Sequence[Encoded]) -> dict[str, Tensor]:
    """A batch and its targets.

    For each type, queries are (row, token, target), shape (n, 3), and keys 0 or 1, shape (targets,
    tokens).
    """
    batch = encoder.batch(examples)
    width = batch["input_ids"].shape[1]
    for target_type in TargetType:
        targets = [
            (row, target)
            for row, example in enumerate(examples)
            for target in example.targets
            if target.type is target_type
        ]
        keys = torch.zeros(len(targets), width)
        for number, (_, target) in enumerate(targets):
            keys[number, torch.from_numpy(target.keys)] = 1.0
        queries = [
            (row, int(query), number)
            for number, (row, target) in enumerate(targets)
            for query in target.queries
        ]
        batch[f"{target_type}_{QUERIES}"] = torch.tensor(queries, dtype=torch.long).view(-1, 3)
        batch[f"{target_type}_{KEYS}"] = keys
    return batch
