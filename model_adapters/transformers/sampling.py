"""How to decode, in transformers' words; sampling by a request's own seed, whatever its batch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from migbench.messages import Generation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["decoding"]


def decoding(generation: Generation, device: Any) -> dict[str, Any]:
    """The keywords of transformers' ``generate``; end and padding tokens are set in the model.

    Where one beam samples, the most likely token of scores with Gumbel noise is taken, which is
    a draw from their distribution. The noise depends on the seed and the step alone, so that an
    answer does not depend on which requests share its batch.
    """
    settings: dict[str, Any] = {
        "max_new_tokens": generation.max_new_tokens,
        "num_beams": generation.num_beams,
        "do_sample": generation.temperature > 0 and generation.num_beams > 1,
    }
    if settings["do_sample"]:
        # Unsaid, top_k would be 50; 0 keeps all tokens.
        settings |= {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    elif generation.temperature > 0:
        process: Any = importlib.import_module("transformers.generation.logits_process")
        steps = [process.TemperatureLogitsWarper(float(generation.temperature))]
        if generation.top_p < 1:
            steps.append(process.TopPLogitsWarper(generation.top_p))
        settings["logits_processor"] = [*steps, _Noise(generation.seed, device)]
    return settings


class _Noise:
    """Adds the same Gumbel noise to every row of a batch, another at each step."""

    def __init__(self, seed: int, device: Any) -> None:
        import torch

        self._random = torch.Generator(device).manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = scores.new_empty(scores.shape[-1]).exponential_(generator=self._random)
        return scores - noise.log()
