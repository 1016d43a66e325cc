"""Learning to look: where a box begins, one attention head is told what to attend to.

An answer says which thing was meant only by its digits, and a small model that does not yet find
anything learns the digits' averages first. Here the tokens of the images that show the target are
told as well: the more a head attends to them before the first digit, the smaller the loss. Later
it would be told nothing: what has been written of the box tells where it is. Nothing is added to
the model, and nothing of this is needed once it has learnt.

Where targets are not known, as in files of records, nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from migbench.training.encoding import Encoded, Encoder

LAYER = -2
"""The layer that looks: those before it make out what is wanted, the last writes what was seen."""
HEAD = 0
OPENING = 2
"""The tokens before the first digit: ``<|box_start|>`` and ``(``."""
FROM, AT = "pointed_from", "pointed_at"
"""What is added to a batch: (row, token, target) of shape (n, 3), and (targets, tokens)."""


class Pointing:
    """Tells one head of a language model where to look, as part of the loss."""

    def __init__(self, model: Any, weight: float) -> None:
        """Listen to the attention of ``model``, which computes it with plain products for that."""
        language_model = model.model.language_model
        language_model.set_attn_implementation("eager")
        self._weight = weight
        self._attended: Tensor | None = None
        language_model.layers[LAYER].self_attn.register_forward_hook(self._listen)

    def _listen(self, module: Any, arguments: Any, output: tuple[Tensor, Tensor]) -> None:
        self._attended = output[1][:, HEAD] if module.training else None

    def take(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What `loss` needs of a batch; the model gets the rest."""
        return {name: batch.pop(name) for name in (FROM, AT)} | {"labels": batch["labels"]}

    def loss(self, batch: Mapping[str, Tensor], answer_tokens: Tensor | int | None) -> Tensor:
        """What looking elsewhere adds to the loss of the batch that the model has just seen.

        As the loss of the answers it is shared by the ``answer_tokens`` of a whole step; without
        them, by those of the batch.
        """
        assert self._attended is not None
        row, place, target = batch[FROM].unbind(1)
        shares = self._attended[row, place].float()
        shown = batch[AT][target]
        missed = -(shares * shown).sum(1).clamp(min=1e-30).log()
        count = (batch["labels"] >= 0).sum() if answer_tokens is None else answer_tokens
        self._attended = None
        return self._weight * missed.sum() / OPENING / count


def collate(encoder: Encoder, examples: Sequence[Encoded]) -> dict[str, Tensor]:
    """A batch, and what is to be looked at where each of its boxes begins."""
    batch = encoder.batch(examples)
    pointers = [(row, each) for row, example in enumerate(examples) for each in example.pointers]
    shown = torch.zeros(len(pointers), batch["input_ids"].shape[1])
    rows = []
    for number, (row, pointer) in enumerate(pointers):
        shown[number, torch.from_numpy(pointer.cells)] = 1.0
        rows += [(row, place, number) for place in range(pointer.start, pointer.start + OPENING)]
    return batch | {FROM: torch.tensor(rows, dtype=torch.long).view(-1, 3), AT: shown}
