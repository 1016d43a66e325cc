"""vLLM's engine arguments: those that follow from the adapter's settings, and the user's own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from migbench.messages import AdapterError
from model_adapters.checkpoints import folder_or_hub_id
from model_adapters.vllm.settings import VllmSettings

__all__ = ["check_names", "engine_arguments", "lora_rank"]

_SETTINGS = {
    "model": "--model",
    "revision": "--revision",
    "dtype": "--model-arg dtype",
    "max_model_len": "--model-arg max_model_len",
    "trust_remote_code": "--model-arg trust_remote_code",
    "limit_mm_per_prompt": "--model-arg max_images",
    "enable_lora": "--model-arg lora",
}
"""Engine arguments that have a setting of their own, and its flag."""

_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The bounds on a LoRA adapter's rank that vLLM can be started with."""


def engine_arguments(settings: VllmSettings) -> dict[str, Any]:
    """The keywords of vLLM's ``AsyncEngineArgs``; ``settings.engine_args`` are the user's own.

    Raises `AdapterError` when these repeat a setting.
    """
    more = dict(settings.engine_args or {})
    if repeated := sorted(_SETTINGS.keys() & more):
        flags = ", ".join(f"{name} is set by {_SETTINGS[name]}" for name in repeated)
        raise AdapterError(f"--engine-args: {flags}")
    limits = {"min_pixels": settings.min_pixels, "max_pixels": settings.max_pixels}
    processing = {name: limit for name, limit in limits.items() if limit is not None}
    processing |= more.pop("mm_processor_kwargs", None) or {}
    arguments: dict[str, Any] = {
        "model": folder_or_hub_id(settings.checkpoint),
        "revision": settings.revision,
        "tokenizer_revision": settings.revision,
        "dtype": settings.dtype,
        "trust_remote_code": settings.trust_remote_code,
        # No question shows a video; vLLM would set memory aside for some.
        "limit_mm_per_prompt": {"image": settings.max_images, "video": 0},
        # Temperature and penalties are the request's, never the checkpoint's.
        "generation_config": "vllm",
        # Where a chat template takes text alone, images still stand where the request has them.
        "interleave_mm_strings": True,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    if settings.max_model_len is not None:
        arguments["max_model_len"] = settings.max_model_len
    if processing:
        arguments["mm_processor_kwargs"] = processing
    if settings.lora is not None:
        arguments |= {"enable_lora": True, "max_loras": 1}
        if (rank := lora_rank(settings.lora)) is not None:
            arguments["max_lora_rank"] = rank
    return arguments | more


def lora_rank(lora: str) -> int | None:
    """The bound that vLLM needs for a LoRA adapter's rank; None for one that is not a folder.

    Raises `AdapterError` for a folder that holds no LoRA adapter, or too large a one.
    """
    if not (folder := Path(lora).expanduser()).is_dir():
        return None
    configuration = folder / "adapter_config.json"
    try:
        rank = json.loads(configuration.read_bytes())["r"]
        return next(bound for bound in _LORA_RANKS if bound >= rank)
    except StopIteration:
        raise AdapterError(
            f"lora {lora}: rank {rank} is above {_LORA_RANKS[-1]}, vLLM's largest"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"lora {lora}: {configuration.name} cannot be read as a LoRA adapter's ({error!r})"
        ) from error


def check_names(arguments: Collection[str], known: Collection[str]) -> None:
    """Raise `AdapterError`, with the nearest ``known`` name, for an argument that is not known."""
    for name in arguments:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`vllm serve --help=all` lists them"
        raise AdapterError(f"--engine-args: vLLM has no engine argument {name}; {hint}")
