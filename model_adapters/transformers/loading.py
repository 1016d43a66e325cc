"""Loads a vision-language checkpoint with transformers: weights, tokenizer, image processor.

Every way in which that can fail becomes an `AdapterError` that names the checkpoint and the remedy.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from migbench.messages import AdapterError, root_cause
from model_adapters.checkpoints import folder_or_hub_id
from model_adapters.transformers.settings import TransformersSettings

if TYPE_CHECKING:
    import torch

__all__ = ["LoadedModel", "load"]

T = TypeVar("T")

DTYPES = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in memory, ready to generate.

    ``end_ids`` are the tokens that end an answer, ``pad_id`` fills up shorter rows of a batch.
    """

    model: Any
    processor: Any
    end_ids: frozenset[int]
    pad_id: int


def load(settings: TransformersSettings) -> LoadedModel:
    """Load the checkpoint, a folder or a hub id.

    Raises `AdapterError` when a package is missing, a setting is unknown, or the checkpoint does
    not load, is no chat model for images, or lacks weights.
    """
    checkpoint = settings.checkpoint
    _imported("torch")
    _imported("transformers")
    source = folder_or_hub_id(checkpoint)
    place = _device(settings.device)
    number = _dtype(settings.dtype, place)
    hub = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    limits = _given(min_pixels=settings.min_pixels, max_pixels=settings.max_pixels)
    attention = _given(attn_implementation=settings.attn_implementation)
    try:
        processor = _load_processor(source, hub, limits)
        _check_processor(checkpoint, processor, limits)
        model = _load_model(source, **hub, dtype=number, device_map=place, **attention)
    except AdapterError:
        raise
    except Exception as error:  # transformers raises nearly every kind of exception
        raise AdapterError(f"{checkpoint} does not load: {_reason(error)}") from error
    return _prepared(model, processor)


def _imported(package: str) -> Any:
    """The package, untyped: transformers' own annotations do not describe what it returns."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise AdapterError(
            f"the transformers adapter needs {package}, which cannot be imported ({error}); "
            "install it with: pip install 'migbench[transformers]'"
        ) from error


def _device(device: str) -> str:
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise AdapterError(f"device {device}: torch sees no GPU; choose device=cpu or auto")
    return device


def _dtype(dtype: str, device: str) -> torch.dtype:
    import torch

    if dtype not in DTYPES:
        raise AdapterError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen


def _given(**settings: T | None) -> dict[str, T]:
    """The settings that the user gave; the others are the checkpoint's to decide."""
    return {name: value for name, value in settings.items() if value is not None}


def _load_processor(source: str, hub: dict[str, Any], limits: dict[str, int]) -> Any:
    """Tokenizer and image processor in one, without the video half of models that have one.

    Video processors exist for torchvision alone, and stock `AutoProcessor` insists on them. No
    question here shows a video, so a machine with torchvision and one without load the same.
    """
    transformers = _imported("transformers")
    config_type = type(transformers.AutoConfig.from_pretrained(source, **hub))
    processor_class = transformers.AutoProcessor
    if config_type in transformers.PROCESSOR_MAPPING:
        stock = transformers.PROCESSOR_MAPPING[config_type]
        if "video_processor" in stock.get_attributes():
            processor_class = _without_video(stock)
    processor = processor_class.from_pretrained(source, **hub)
    if limits:
        # Given to the whole processor, they would reach its tokenizer and each later call as well.
        processor.image_processor = type(processor.image_processor).from_pretrained(
            source, revision=hub["revision"], **limits
        )
    return processor


def _without_video(stock: Any) -> Any:
    """A subclass of the processor class ``stock`` that loads and calls no video processor."""
    attributes = [name for name in stock.get_attributes() if name != "video_processor"]
    members = {"get_attributes": staticmethod(lambda: list(attributes))}
    return type(f"ImageOnly{stock.__name__}", (stock,), members)


def _load_model(source: str, **settings: Any) -> Any:
    model, report = _imported("transformers").AutoModelForImageTextToText.from_pretrained(
        source, **settings, output_loading_info=True
    )
    absent = sorted(report["missing_keys"])
    if absent:
        raise AdapterError(
            f"{source} lacks {len(absent)} of its model's weights ({absent[0]}, …), which would "
            "be random: the files are incomplete or belong to another architecture"
        )
    return model.eval()


def _check_processor(checkpoint: str, processor: Any, limits: dict[str, int]) -> None:
    image_processor = getattr(processor, "image_processor", None)
    if image_processor is None:
        raise AdapterError(f"{checkpoint} has no image processor: is it a vision-language model?")
    if processor.chat_template is None:
        raise AdapterError(f"{checkpoint} has no chat template: use an instruction-tuned version")
    size = dict(image_processor.size or {})
    areas = {"min_pixels": size.get("shortest_edge"), "max_pixels": size.get("longest_edge")}
    for name, wanted in limits.items():
        if areas[name] != wanted:
            raise AdapterError(f"{checkpoint}: its image processor has no setting {name}")


def _prepared(model: Any, processor: Any) -> LoadedModel:
    """Find the end and padding tokens, and forget the checkpoint's own decoding settings.

    `generate` would mix those (temperature, penalties) into whatever a request leaves unsaid.
    """
    tokenizer = processor.tokenizer
    ends = model.generation_config.eos_token_id
    end_ids = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    pad_id = tokenizer.pad_token_id
    if pad_id is None:
        pad_id = min(end_ids, default=0)
    model.generation_config = _imported("transformers").GenerationConfig(
        eos_token_id=sorted(end_ids), pad_token_id=pad_id
    )
    # A tokenizer's padding state is set at its first call. Later calls find it as they want it,
    # so that several threads may tokenize at once.
    tokenizer("")
    return LoadedModel(model, processor, frozenset(end_ids), pad_id)


def _reason(error: Exception) -> str:
    """The first line of what went wrong at bottom, and what to do about it."""
    import torch

    cause = root_cause(error)
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    if isinstance(error, torch.OutOfMemoryError):
        remedy = "free the device, choose a smaller dtype, or spread it with device=balanced"
    elif "torchvision" in lines[0]:
        remedy = "torchvision does not fit this torch: uninstall it, since it is not needed here"
    elif isinstance(error, ImportError):
        remedy = "install what is missing"
    elif isinstance(error, OSError):
        remedy = "check the folder or hub id, the network, and for gated models `hf auth login`"
    else:
        remedy = (
            "the files may be damaged, or the model may need a newer transformers or "
            "trust_remote_code=true"
        )
    return f"{lines[0].rstrip('. ')} ({remedy})"
