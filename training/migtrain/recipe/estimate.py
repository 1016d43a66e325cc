"""What a training will need, before anyone pays for it: memory on each GPU, steps, tokens.

The model is built without memory for its weights. Its size, and what it would take unsharded, are
those of ``accelerate estimate-memory``; what ZeRO-3 leaves on each GPU, and what a step adds, is
arithmetic. Nothing here has been measured against a training of 7B.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from accelerate.commands.estimate import estimate_training_usage
from accelerate.utils import calculate_maximum_sizes
from transformers import AutoConfig, Qwen2VLConfig
from transformers import Qwen2VLForConditionalGeneration as Qwen2VL

from migbench.errors import DataError
from migbench.util.yaml_files import read_yaml
from migtrain.recipe.stages import FOLDER, count_steps, is_zero3

SHAPES = ("Qwen/Qwen2-VL-7B", "Qwen/Qwen2-VL-7B-Instruct")
"""Hub checkpoints whose configuration is packaged."""
BF16, FP32 = 2, 4
"""Bytes of a number."""
MAX_LIVE = 1_000_000_000
"""So many parameters ZeRO-3 holds whole at a time: DeepSpeed's default."""


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """How many numbers the model has, by part; ``trained`` of them change."""

    language: int
    projector: int
    vision: int
    trained: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.language + self.projector + self.vision


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on each GPU, by what they are for; ``unsharded`` is accelerate's for one GPU."""

    weights: int
    gathered: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    unsharded: int

    @property
    def total(self) -> int:
        """At the peak of a step, all of them together."""
        parts = (self.weights, self.gathered, self.gradients, self.optimizer, self.activations)
        return sum(parts) + self.logits


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """What a configuration will need; ``most_tokens`` are those of records of ``cutoff_len``."""

    parameters: ParameterCounts
    memory: MemoryEstimate
    examples: int
    steps: int
    most_tokens: int


def estimate_training(config: Mapping[str, Any], examples: int, gpus: int) -> TrainingEstimate:
    """What a stage's whole configuration will need; `DataError` without the model's shape."""
    model = empty_model(str(config["model_name_or_path"]))
    parameters = count_parameters(model, config)
    return TrainingEstimate(
        parameters,
        estimate_memory(model, parameters, config, gpus),
        examples,
        count_steps(config, examples, gpus),
        examples * int(config["cutoff_len"]),
    )


def empty_model(checkpoint: str) -> Any:
    """The model without memory for its weights: of a folder, a hub id, or the packaged shape."""
    if checkpoint in SHAPES:
        shape: Any = Qwen2VLConfig(**read_yaml(FOLDER / "qwen2-vl-7b.yaml"))
    else:
        try:
            shape = AutoConfig.from_pretrained(Path(checkpoint).expanduser())
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"{checkpoint}: has no configuration here ({reason})") from error
    if shape.model_type != "qwen2_vl":
        raise DataError(f"{checkpoint}: is a {shape.model_type}; the recipe trains qwen2_vl")
    with init_empty_weights():
        return Qwen2VL(shape)  # type: ignore[no-untyped-call]


def count_parameters(model: Any, config: Mapping[str, Any]) -> ParameterCounts:
    """Parameters by part; LLaMA-Factory freezes vision tower and projector unless told otherwise.

    A tied output layer counts once.
    """
    counts = {"language": 0, "projector": 0, "vision": 0}
    for name, parameter in model.named_parameters():
        part = "language"
        if ".visual." in f".{name}":
            part = "projector" if ".merger." in name else "vision"
        counts[part] += parameter.numel()
    frozen = {
        "vision": config.get("freeze_vision_tower", True),
        "projector": config.get("freeze_multi_modal_projector", True),
        "language": config.get("freeze_language_model", False),
    }
    trained = sum(count for part, count in counts.items() if not frozen[part])
    return ParameterCounts(**counts, trained=trained)


def estimate_memory(
    model: Any, parameters: ParameterCounts, config: Mapping[str, Any], gpus: int
) -> MemoryEstimate:
    """Bytes at the peak of a step whose records all have ``cutoff_len`` tokens.

    Weights and gradients in bfloat16, and for a trained parameter Adam's two moments and a copy of
    the weight in float32: 16 bytes in all, shared out under ZeRO-3, which gathers some of them.
    Activations are computed again on the way back (LLaMA-Factory's default): a layer keeps its
    input, and one at a time all else.
    """
    text = model.config.text_config
    parts = gpus if is_zero3(config) else 1
    tokens = config["per_device_train_batch_size"] * config["cutoff_len"]
    width, narrow = text.hidden_size, text.hidden_size // text.num_attention_heads
    heads = text.num_attention_heads + 2 * text.num_key_value_heads
    # Two norms' inputs and outputs, attention's in- and output, queries, keys and values; the MLP's
    # gate, activated gate, up projection and product.
    inside = tokens * BF16 * (6 * width + heads * narrow + 4 * text.intermediate_size)
    layers = text.num_hidden_layers
    unsharded = estimate_training_usage(calculate_maximum_sizes(model)[0], "bfloat16")
    return MemoryEstimate(
        weights=BF16 * parameters.total // parts,
        gathered=BF16 * min(MAX_LIVE, parameters.total) if is_zero3(config) else 0,
        gradients=BF16 * parameters.trained // parts,
        optimizer=3 * FP32 * parameters.trained // parts,
        activations=layers * tokens * width * BF16 + inside,
        # In bfloat16 and float32, and their gradient.
        logits=tokens * text.vocab_size * (BF16 + 2 * FP32),
        unsharded=max(unsharded.values()),
    )
