"""Learning to look: heads of attention are told what to attend to, as part of the loss.

An answer says which thing was meant only by its digits, and a small model that does not yet find
anything learns the digits' averages first, for hours: what takes several looks gives no hint while
one of them is missing. Here each look is told by itself (`migtrain.miniature.looks`): the more a
head attends to what its token is to look at, the smaller the loss. Nothing is added to the model,
and nothing of this is needed once it has learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from migtrain.miniature.encoding import Aim, Encoded, Encoder

HEADS = {
    Aim.PICTURE: (0, 0),
    Aim.COLOUR: (0, 2),
    Aim.NAME: (1, 0),
    Aim.NUMBER: (1, 1),
    Aim.MATCH: (1, 2),
    Aim.KIND: (1, 3),
    Aim.CLUE: (2, 0),
    Aim.ANSWER: (3, 0),
}
"""Layer and head that take each look, counted round where a model has fewer. A look comes after
those that it builds on: first likenesses and what is asked for, then the clue, then the answer."""
WEIGHTS = {Aim.NAME: 2.0, Aim.ANSWER: 2.0}
"""What a look of an aim counts, where it is not 1: these are few beside the likenesses."""
BY, AT = "by", "at"


class Pointing:
    """Tells heads of a language model where to look."""

    def __init__(self, model: Any, weight: float) -> None:
        """Listen to the attention of ``model``, which computes it with plain products for that."""
        language_model = model.model.language_model
        language_model.set_attn_implementation("eager")
        self._weight = weight
        self._attended: dict[int, Tensor] = {}
        self._layers = len(language_model.layers)
        for layer in {layer % self._layers for layer, _ in HEADS.values()}:
            attention = language_model.layers[layer].self_attn
            attention.register_forward_hook(partial(self._listen, layer))

    def _listen(
        self, layer: int, module: Any, arguments: Any, output: tuple[Tensor, Tensor]
    ) -> None:
        if module.training:
            self._attended[layer] = output[1]

    def take(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `loss` needs of a batch; the model gets the rest."""
        named = [f"{aim}_{part}" for aim in Aim for part in (BY, AT)]
        return {name: batch.pop(name) for name in named} | {"labels": batch["labels"]}

    def missed(self, batch: Mapping[str, Tensor]) -> dict[Aim, Tensor]:
        """How much of each look of the batch that the model has just seen went elsewhere, in nats.

        The mean over the tokens that take the look.
        """
        missed = {}
        for aim, (layer, head) in HEADS.items():
            row, place, look = batch[f"{aim}_{BY}"].unbind(1)
            at = batch[f"{aim}_{AT}"]
            attended = self._attended[layer % self._layers]
            heads = attended.shape[1]
            shares = (attended[row, head % heads, place].float() * at[look]).sum(1)
            each = -shares.clamp(min=1e-30).log()
            counts = torch.bincount(look, minlength=len(at))
            missed[aim] = each.new_zeros(len(at)).index_add(0, look, each) / counts
        return missed

    def loss(self, batch: Mapping[str, Tensor], answer_tokens: Tensor | int | None) -> Tensor:
        """What looking elsewhere adds to the loss of the batch that the model has just seen.

        As the loss of the answers it is shared by the ``answer_tokens`` of a whole step; without
        them, by those of the batch.
        """
        missed = self.missed(batch)
        total = torch.cat([WEIGHTS.get(aim, 1.0) * each for aim, each in missed.items()]).sum()
        count = (batch["labels"] >= 0).sum() if answer_tokens is None else answer_tokens
        self._attended.clear()
        return self._weight * total / count


def collate(encoder: Encoder, examples: Sequence[Encoded]) -> dict[str, Tensor]:
    """A batch and its looks.

    For each aim they are (row, token, look) of shape (n, 3), and what is to be looked at, 0 or
    1, of shape (looks, tokens).
    """
    batch = encoder.batch(examples)
    width = batch["input_ids"].shape[1]
    for aim in Aim:
        looks = [
            (row, look)
            for row, example in enumerate(examples)
            for look in example.looks
            if look.aim is aim
        ]
        at = torch.zeros(len(looks), width)
        for number, (_, look) in enumerate(looks):
            at[number, torch.from_numpy(look.at)] = 1.0
        by = [(row, int(by), number) for number, (row, look) in enumerate(looks) for by in look.by]
        batch[f"{aim}_{BY}"] = torch.tensor(by, dtype=torch.long).view(-1, 3)
        batch[f"{aim}_{AT}"] = at
    return batch
