"""How many requests fit into memory at once: an estimate beforehand, and what has turned out.

The estimate, for ``batch_size=auto``: each of ``n`` rows is as wide as the longest prompt and its
answer, and each of its tokens costs

- its keys and values, twice: in the batch, and kept for the next one or being copied as it grows;
- the widest activations of one layer, several hidden states and three of the feed-forward network;

``n`` is the largest number whose rows fit into 80 % of the memory that is free, at most
`AUTO_MOST`. Whatever the estimate: a batch that runs out of memory is halved, half its size is not
exceeded again until `PROBATION` full batches have gone well, and then by an eighth at a time.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migbench.messages import AdapterError

__all__ = [
    "AUTO_MOST",
    "BatchSize",
    "fitting",
    "free_bytes",
    "is_out_of_memory",
    "token_bytes",
]

AUTO_MOST = 64
"""What ``auto`` does not exceed: larger batches gain little and keep more requests waiting."""

PROBATION = 8

USABLE = 0.8
"""Share of the free memory to fill; the rest is for fragmentation and what is not estimated."""


@dataclass
class BatchSize:
    """The largest batch, ``most``, or less of it where memory has run out."""

    most: int

    def __post_init__(self) -> None:
        """Begin with all of it."""
        self.limit = self.most
        self._gone_well = 0

    def ran_out(self, size: int) -> None:
        """A batch of this size did not fit."""
        self.limit = min(self.limit, max(1, size // 2))
        self._gone_well = 0

    def went_well(self, size: int) -> None:
        """A batch of this size did."""
        if size < self.limit or self.limit == self.most:
            return
        self._gone_well += 1
        if self._gone_well == PROBATION:
            self.limit = min(self.most, self.limit + max(1, self.limit // 8))
            self._gone_well = 0


def fitting(lengths: Sequence[int], bytes_per_token: int, free: int) -> int:
    """How many rows, of the first ones, fit into the free memory; at least 1.

    ``lengths`` are those of prompt and answer together, in tokens.
    """
    room = int(USABLE * free) // bytes_per_token
    count, width = 0, 0
    for length in lengths:
        width = max(width, length)
        if (count + 1) * width > room:
            break
        count += 1
    return max(1, count)


def token_bytes(model: Any) -> int:
    """What one token of a batch takes, in bytes, by the model's configuration.

    Raises `AdapterError` where that does not say it in the usual words.
    """
    config = model.config.get_text_config(decoder=True)
    try:
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
    except AttributeError as error:
        raise AdapterError(
            f"--batch-size auto cannot be worked out for this model ({error}): give a number"
        ) from error
    key_value_heads = getattr(config, "num_key_value_heads", None) or heads
    keys_and_values = 2 * layers * key_value_heads * size
    feed_forward = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = 6 * config.hidden_size + 3 * feed_forward
    return int((2 * keys_and_values + activations) * model.dtype.itemsize)


def free_bytes(device: Any) -> int:
    """Memory that is free on a device: a GPU's, else what this process may still take."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    psutil: Any = importlib.import_module("psutil")  # comes with accelerate
    return int(min(psutil.virtual_memory().available, _free_in_control_group()))


def _free_in_control_group() -> float:
    """What a container's limit leaves (cgroup v2, as its own root shows it); infinite if none."""
    root = Path("/sys/fs/cgroup")
    try:
        return int((root / "memory.max").read_text()) - int((root / "memory.current").read_text())
    except (OSError, ValueError):  # no such file, or the word max
        return float("inf")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or Python says that memory ran out."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's allocator and cuBLAS have no exception of their own.
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in str(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)
    )
