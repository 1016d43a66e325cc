"""The vllm adapter's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from migbench.messages import AdapterError
from model_adapters.checks import require_pixel_bounds, require_positive

__all__ = ["SERVING_ARGUMENTS", "VllmSettings"]

SERVING_ARGUMENTS = frozenset(
    {
        "block_size",
        "cpu_offload_gb",
        "data_parallel_backend",
        "data_parallel_size",
        "device_ids",
        "disable_log_stats",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_expert_parallel",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "log_level",
        "max_num_batched_tokens",
        "max_num_seqs",
        "mm_encoder_tp_mode",
        "mm_processor_cache_gb",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "renderer_num_workers",
        "skip_mm_profiling",
        "tensor_parallel_size",
    }
)
"""Engine arguments that say where and how fast a model runs, not what it says.

As with a batch size, sums are taken in another order, and a near tie may fall the other way.
"""


class VllmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; `AdapterError` is raised for one that is wrong.

    - ``checkpoint``: a folder or a hub id; ``revision``: a hub branch, tag or commit.
    - ``dtype``: ``bfloat16``, ``float16``, ``float32``, or ``auto``: the checkpoint's own, with
      float16 for one in float32.
    - ``max_model_len``: tokens of a prompt and its answer, at most; the checkpoint's own by
      default. Less leaves more memory for answering many requests at once.
    - ``max_images``: images in one request, at most. MIG-Bench shows no more than six.
    - ``min_pixels``, ``max_pixels``: bounds of an image's area after resizing; the checkpoint's own
      by default.
    - ``trust_remote_code``: run code that comes with the checkpoint.
    - ``add_vision_id``: have the chat template number the images (``Picture 1: ``).
    - ``lora``: a LoRA adapter for the checkpoint, a folder or a hub id.
    - ``engine_args``: any other of vLLM's engine arguments, by name: ``tensor_parallel_size``,
      ``quantization``, ``gpu_memory_utilization``, …
    - ``preparing_threads``: how many threads decode images.
    - ``image_cache_mb``: megabytes of decoded images that are kept for the next request.
    """

    checkpoint: str
    revision: str | None = None
    dtype: str = "auto"
    max_model_len: int | None = None
    max_images: int = 6
    min_pixels: int | None = None
    max_pixels: int | None = None
    trust_remote_code: bool = False
    add_vision_id: bool = False
    lora: str | None = None
    engine_args: Mapping[str, Any] | None = None
    preparing_threads: int = 4
    image_cache_mb: float = 256.0

    def __post_init__(self) -> None:
        """Check the settings."""
        require_positive(
            max_model_len=self.max_model_len,
            max_images=self.max_images,
            preparing_threads=self.preparing_threads,
        )
        require_pixel_bounds(self.min_pixels, self.max_pixels)
        if self.image_cache_mb < 0:
            raise AdapterError(f"image_cache_mb must be 0 or more, not {self.image_cache_mb}")
        if not isinstance(self.engine_args, Mapping | None):
            raise AdapterError("--engine-args: a mapping of vLLM's engine arguments is expected")
