"""A LoRA adapter in PEFT's file layout, and the checkpoint that it amounts to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

RANK, ALPHA = 4, 8
MODULES = ("q_proj", "v_proj")


def write_lora(checkpoint: Path, adapter: Path, merged: Path) -> tuple[Path, Path]:
    """Write an adapter with weights from a seed, and ``checkpoint`` with it merged in."""
    random = torch.Generator().manual_seed(0)
    weights = load_file(checkpoint / "model.safetensors")
    parts = {}
    for name in sorted(weights):
        *_, module, kind = name.split(".")
        if kind != "weight" or module not in MODULES:
            continue
        rows, columns = weights[name].shape
        down = torch.randn(RANK, columns, generator=random) / columns**0.5
        up = torch.randn(rows, RANK, generator=random) / RANK**0.5
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        parts |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
        weights[name] += ALPHA / RANK * up @ down
    adapter.mkdir()
    save_file(parts, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    configuration = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(MODULES),
        "base_model_name_or_path": str(checkpoint),
    }
    (adapter / "adapter_config.json").write_text(json.dumps(configuration))
    shutil.copytree(checkpoint, merged)
    save_file(weights, merged / "model.safetensors", metadata={"format": "pt"})
    return adapter, merged
