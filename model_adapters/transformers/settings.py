"""The transformers adapter's settings."""

from __future__ import annotations

from typing import Literal

import msgspec

from migbench.messages import AdapterError
from model_adapters.checks import is_positive, require_pixel_bounds, require_positive

__all__ = ["TransformersSettings"]


class TransformersSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; `AdapterError` is raised for one that is wrong.

    - ``checkpoint``: a folder or a hub id; ``revision``: a hub branch, tag or commit.
    - ``dtype``: ``bfloat16``, ``float16``, ``float32``, or ``auto``: bfloat16, on a CPU float32.
    - ``device``: ``cpu``, ``cuda``, ``cuda:1``, …, ``balanced`` (spread over all GPUs), or
      ``auto``: the first GPU if there is one.
    - ``batch_size``: how many requests the model answers at once, at most; ``auto``: as many as
      fit into memory by an estimate (see `memory`). Where memory runs out, fewer, in either case.
    - ``min_pixels``, ``max_pixels``: bounds of an image's area after resizing; the checkpoint's own
      by default. What most decides on memory and time.
    - ``attn_implementation``: for instance ``flash_attention_2``; transformers' choice by default.
    - ``trust_remote_code``: run code that comes with the checkpoint.
    - ``add_vision_id``: have the chat template number the images (``Picture 1: ``).
    - ``preparing_threads``: how many threads decode and resize images.
    - ``image_cache_gb``: GiB of main memory for decoded and resized images, which prompts share.
    - ``prefix_cache_gb``: GiB on the device for what the model keeps of image sets that it has
      read (see `reuse`); by default a quarter of what is free once it is loaded.
    """

    checkpoint: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_size: int | Literal["auto"] = 8
    min_pixels: int | None = None
    max_pixels: int | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    add_vision_id: bool = False
    preparing_threads: int = 4
    image_cache_gb: float = 1.0
    prefix_cache_gb: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.batch_size != "auto" and not is_positive(self.batch_size):
            raise AdapterError(
                "--batch-size must be a whole number of at least 1, or auto, not "
                f"{self.batch_size!r}"
            )
        require_positive(preparing_threads=self.preparing_threads)
        require_pixel_bounds(self.min_pixels, self.max_pixels)
        for name in ("image_cache_gb", "prefix_cache_gb"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 <= value < 2**20):
                raise AdapterError(f"{name} must be a number of GiB, 0 for none, not {value!r}")
