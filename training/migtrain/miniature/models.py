"""The model that is trained: a new one, or a checkpoint; and the files that go with its weights."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from migbench.errors import AdapterError, UsageError
from migtrain.miniature.ragged_attention import RAGGED, attend_ragged
from migtrain.miniature.recipe import ModelChoice
from migtrain.miniature.tokenizer import read_merges
from model_adapters import tiny_qwen2_vl

MODEL_TYPE = "qwen2_vl"

PROCESSING = (
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
"""What stands beside the weights of a published Qwen2-VL checkpoint."""


def start_checkpoint(choice: ModelChoice, folder: Path, seed: int) -> Path:
    """The checkpoint that a training starts from, as a folder; a new one is built in ``folder``.

    Raises `UsageError` where it is no Qwen2-VL checkpoint.
    """
    if choice.sizes is not None:
        merges = read_merges(choice.bpe_merges)
        return tiny_qwen2_vl.build(
            folder, seed=seed, sizes=choice.sizes, merges=merges, numbered=choice.numbered
        )
    assert choice.checkpoint is not None
    source = Path(choice.checkpoint).expanduser()
    if not source.is_dir():
        raise UsageError(f"{choice.checkpoint}: there is no such folder")
    try:
        config = json.loads((source / "config.json").read_bytes())
        found = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{choice.checkpoint}: is no checkpoint ({error})") from error
    if found != MODEL_TYPE:
        raise UsageError(f"{choice.checkpoint}: is a {found}; this recipe trains {MODEL_TYPE}")
    return source


def load_model(choice: ModelChoice, folder: Path) -> Any:
    """The model in float32, its frozen parts without gradients.

    Raises `AdapterError` where it does not load.
    """
    torch = import_module("torch")
    # On a CPU plain products are faster than the fused kernel, whose gradients are slow there.
    is_plain = choice.attention == RAGGED and not torch.cuda.is_available()
    named = {"attn_implementation": "eager"} if is_plain else {}
    try:
        qwen = import_module("transformers").Qwen2VLForConditionalGeneration
        model = qwen.from_pretrained(folder, dtype=torch.float32, **named)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise AdapterError(f"{folder} does not load: {error}") from error
    if choice.attention == RAGGED:
        attend_ragged(model)
    freeze(model, choice)
    return model


def freeze(model: Any, choice: ModelChoice) -> None:
    """Take the gradients from the parts that stay as they are."""
    for name, parameter in model.model.visual.named_parameters():
        part = "merger" if name.startswith("merger.") else "vision"
        parameter.requires_grad_(part not in choice.frozen)


def copy_processing(source: Path, target: Path) -> None:
    """Put tokenizer, chat template, image and decoding settings beside trained weights."""
    for name in PROCESSING:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
