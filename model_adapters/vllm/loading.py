"""Starts vLLM's engine, and turns every way in which that can fail into an `AdapterError`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from migbench.messages import AdapterError
from model_adapters.vllm.arguments import check_names
from model_adapters.vllm.engine import Engine
from model_adapters.vllm.engine_log import EngineLog, bottom, shortened
from model_adapters.vllm.guard import Guard

__all__ = ["start"]

_VERSIONS = "vllm>=0.32,<0.34"
"""What this was written for and tested with."""

_MEMORY_REMEDY = (
    "lower --engine-args max_model_len, --max-pixels or --engine-args max_num_seqs, raise "
    "--engine-args gpu_memory_utilization (0.9 by default), or spread the model with --engine-args "
    "tensor_parallel_size"
)

_FAILURES = {
    ("failed to infer device type", "device string must not be empty"): (
        "vLLM sees no GPU, and its official builds need one; without, use --adapter transformers"
    ),
    ("out of memory", "outofmemory"): f"the model does not fit: {_MEMORY_REMEDY}",
    ("kv cache is needed", "memory for the cache blocks"): (
        f"no memory is left for answering: {_MEMORY_REMEDY}"
    ),
    ("on startup is less than",): (
        "other processes hold too much of the memory: end them, or lower --engine-args "
        "gpu_memory_utilization"
    ),
    ("not supported for now", "not recognize this architecture", "has no vllm implementation"): (
        "vLLM does not know the model's architecture: try a newer vllm, or --adapter transformers"
    ),
    ("trust_remote_code",): "it comes with code of its own: --model-arg trust_remote_code=true",
    ("world size", "number of gpus", "available gpus", "device ordinal"): (
        "fewer GPUs are there than are asked for: lower tensor_parallel_size, "
        "pipeline_parallel_size or data_parallel_size"
    ),
}
"""Words in vLLM's message, in lower case, and what they mean for the user."""


def start(arguments: Mapping[str, Any], *, lora: str | None = None) -> Engine:
    """Start an engine with these keywords of ``AsyncEngineArgs``, and a LoRA adapter or none.

    Raises `AdapterError` when vLLM is missing or too old or new, an argument is unknown, or the
    engine does not start; its processes have ended then.
    """
    log = EngineLog()
    try:
        with log.kept():
            return _started(arguments, lora, log)
    except BaseException as error:  # vLLM and what it loads raise nearly every kind of exception
        reason = _failure(error, log)
        log.remove()
        if isinstance(error, AdapterError) or not isinstance(error, Exception):
            raise
        raise AdapterError(f"{arguments['model']} does not start in vLLM: {reason}") from error


def _started(arguments: Mapping[str, Any], lora: str | None, log: EngineLog) -> Engine:
    vllm, renderers = _imported()
    check_names(arguments, {field.name for field in dataclasses.fields(vllm.AsyncEngineArgs)})
    others = active_children()
    return Engine(
        # In no variable: importing vLLM leaves exceptions behind that hold on to the frames of
        # their time, and an engine that they hold on to cannot end before the interpreter.
        vllm.AsyncLLMEngine.from_engine_args(vllm.AsyncEngineArgs(**arguments)),
        vllm=vllm,
        renderers=renderers,
        log=log,
        guard=Guard(child.pid for child in active_children() if child.pid and child not in others),
        lora=_lora_request(lora) if lora else None,
    )


def _imported() -> tuple[Any, Any]:
    try:
        vllm = importlib.import_module("vllm")
    except ImportError as error:
        raise AdapterError(
            f"the vllm adapter needs vllm, which cannot be imported ({error}); "
            "install it with: pip install 'migbench[vllm]'"
        ) from error
    try:
        renderers = importlib.import_module("vllm.renderers")
        for module, name in ((vllm, "AsyncLLMEngine"), (renderers, "ChatParams")):
            getattr(module, name)
    except (ImportError, AttributeError) as error:
        raise AdapterError(
            f"the vllm adapter is written for {_VERSIONS}; vllm {vllm.__version__} lacks what it "
            f"needs ({error})"
        ) from error
    return vllm, renderers


def _lora_request(lora: str) -> Any:
    module = importlib.import_module("vllm.lora.request")
    return module.LoRARequest(Path(lora).name, 1, str(Path(lora).expanduser()))


def _failure(error: BaseException, log: EngineLog) -> str:
    """What went wrong at bottom, in vLLM's words, and what to do about it."""
    message = shortened(log.reason() or bottom(error))
    for words, remedy in _FAILURES.items():
        if any(word in message.lower() for word in words):
            return f"{remedy} ({message})"
    return message
