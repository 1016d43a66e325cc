"""Attention within many small images at once.

Without flash attention, Qwen2-VL's vision tower calls attention once an image and layer: hundreds
of tiny calls for a batch of small images, in which a GPU mostly waits. Here the images' patches are
padded to the longest and attended to in one call; nothing attends to the padding. It is registered
as an attention function of transformers', which hands such functions, where their name has "flash"
in it, the images' bounds instead of cutting the patches apart itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

RAGGED = "ragged"
"""As a recipe's ``model.attention`` names it."""

_NAME = "migbench_ragged_flash"


def attend_ragged(model: Any) -> None:
    """Let a model's vision tower attend to all images at once."""
    interface = import_module("transformers").AttentionInterface
    interface.register(_NAME, ragged_attention)
    model.model.visual.config._attn_implementation = _NAME


def ragged_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention within stretches of one row: tensors are (1, heads, patches, width).

    ``cu_seq_lens_q`` are the bounds of the stretches, the first of them 0. The result is
    (1, patches, heads, width).
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    assert cu_seq_lens_q is not None, "this transformers does not say where images end"
    _, heads, patches, width = query.shape
    bounds = cu_seq_lens_q.to(torch.long)
    lengths = bounds.diff()
    longest = int(max_length_q if max_length_q is not None else lengths.max())
    images = len(lengths)
    image = torch.arange(images, device=query.device).repeat_interleave(
        lengths, output_size=patches
    )
    # Where each patch lies among (image, place in it), padded to the longest.
    place = image * longest + torch.arange(patches, device=query.device) - bounds[image]

    def apart(tensor: Tensor) -> Tensor:
        padded = tensor.new_zeros(images * longest, heads, width)
        padded = padded.index_copy(0, place, tensor[0].transpose(0, 1))
        return padded.view(images, longest, heads, width).transpose(1, 2)

    real = torch.arange(longest, device=query.device) < lengths[:, None]
    attended = scaled_dot_product_attention(
        apart(query), apart(key), apart(value), attn_mask=real[:, None, None], scale=scaling
    )
    together = attended.transpose(1, 2).reshape(images * longest, heads, width)
    return together.index_select(0, place).unsqueeze(0), None
