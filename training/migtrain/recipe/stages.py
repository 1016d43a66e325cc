"""A stage's configuration for LLaMA-Factory: the authors' values, paths, and overrides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from migbench.errors import UsageError
from migbench.util.yaml_files import read_yaml
from migtrain.recipe.prepare import Prepared

FOLDER = Path(__file__).parent
STAGES = {"1": "stage1", "2": "stage2", "stage1": "stage1", "stage2": "stage2"}
MODEL = "model"
"""The folder of the finished checkpoint, inside the training's."""
GPUS = 8
"""The authors'."""


def read_stage(name: str) -> dict[str, Any]:
    """A packaged stage, or the configuration in a YAML file.

    A ``deepspeed`` file that it names is found beside it. Raises `UsageError`, `DataError`.
    """
    path = FOLDER / f"{STAGES[name]}.yaml" if name in STAGES else Path(name)
    if not path.is_file():
        raise UsageError(f"stage {name}: choose stage1, stage2 or a YAML file of LLaMA-Factory's")
    stage = read_yaml(path)
    if isinstance(stage.get("deepspeed"), str):
        stage["deepspeed"] = str(path.parent.resolve() / stage["deepspeed"])
    return stage


@dataclass(frozen=True, slots=True)
class TrainingPlace:
    """What a stage's file leaves open: where it starts, what it is trained on, where it goes.

    ``data`` is the folder that ``prepared`` describes, ``out`` the training's folder.
    """

    model: str
    data: Path
    prepared: Prepared
    out: Path


def complete_stage(
    stage: Mapping[str, Any], place: TrainingPlace, overrides: Sequence[str] = (), cpu: bool = False
) -> dict[str, Any]:
    """The whole configuration. ``overrides`` are ``key=value``, the values YAML.

    On a CPU DeepSpeed is left out. Raises `UsageError` for an override that is none, and where
    records were checked for other lengths or image sizes than they are trained with.
    """
    config = {
        **stage,
        "model_name_or_path": _absolute(place.model),
        "dataset": ",".join(place.prepared.sources),
        "dataset_dir": str(place.data.resolve()),
        "media_dir": place.prepared.images,
        "output_dir": str((place.out / MODEL).resolve()),
    }
    if cpu:
        config.pop("deepspeed", None)
        config |= {"use_cpu": True, "preprocessing_num_workers": 1}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise UsageError(f"--set {override}: key=value is expected")
        try:
            config[key] = _number_or(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise UsageError(f"--set {override}: the value is no YAML ({error})") from error
    _require_checked_for(config, place)
    return config


def _absolute(model: str) -> str:
    """A checkpoint's folder wherever it is named from; a hub id as it is."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.is_dir() else model


def _number_or(value: Any) -> Any:
    """A number such as 5e-6, which YAML 1.1 takes for text, as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _require_checked_for(config: Mapping[str, Any], place: TrainingPlace) -> None:
    """Raise `UsageError` where records may be longer than the training takes."""
    cutoff, pixels = config.get("cutoff_len"), config.get("image_max_pixels")
    prepared = place.prepared
    if pixels != prepared.image_max_pixels:
        raise UsageError(
            f"{place.data}: was checked with image_max_pixels {prepared.image_max_pixels}, the "
            f"training has {pixels}; prepare it anew"
        )
    if not isinstance(cutoff, int) or cutoff < min(prepared.longest, prepared.cutoff_len):
        raise UsageError(
            f"{place.data}: its longest record has {prepared.longest:,} tokens, and the training "
            f"truncates at cutoff_len {cutoff}; prepare it anew with --cutoff-len {cutoff}"
        )


def count_steps(config: Mapping[str, Any], examples: int, gpus: int) -> int:
    """Optimiser steps of a training, as transformers' `Trainer` counts them."""
    if (most := config.get("max_steps", -1)) > 0:
        return int(most)
    at_once = config["per_device_train_batch_size"] * gpus
    batches = -(-examples // at_once)
    steps_an_epoch = -(-batches // config["gradient_accumulation_steps"])
    return int(-(-steps_an_epoch * config["num_train_epochs"] // 1))


def write_config(config: Mapping[str, Any], path: Path) -> Path:
    """Write a configuration for ``llamafactory-cli train``."""
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False), "utf-8")
    return path


def is_zero3(config: Mapping[str, Any]) -> bool:
    """Whether weights, gradients and optimiser are shared out among the GPUs."""
    path = config.get("deepspeed")
    if not path:
        return False
    settings = json.loads(Path(path).read_bytes())
    return bool(settings.get("zero_optimization", {}).get("stage") == 3)
