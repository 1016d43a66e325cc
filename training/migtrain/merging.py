"""Model merging (section 4.3): the mean of checkpoints' weights, tensor by tensor.

One file's tensors are in memory at a time, so that 7B checkpoints merge on any machine. Names,
shapes and architectures are compared before anything is written, and the result appears under its
name when it is complete.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from migbench.errors import DataError, UsageError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TIED_HEAD = "lm_head.weight"
NOT_SETTINGS = ("trainer_state.json", "all_results.json", "train_results.json", INDEX)
"""What a training leaves beside a checkpoint's settings."""
SETTINGS_SUFFIXES = (".json", ".txt", ".jinja", ".model")
ARCHITECTURE = ("model_type", "architectures")
"""Entries of a configuration that merged checkpoints must share."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written: so many tensors and numbers, in so many files."""

    folder: Path
    tensors: int
    parameters: int
    files: int


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: its configuration, open files, and each tensor's file and shape.

    A tied output layer that is stored again is not among the tensors.
    """

    folder: Path
    config: dict[str, Any]
    files: dict[str, Any]
    placed: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    def tensor(self, name: str) -> Tensor:
        """One tensor, in memory."""
        found: Tensor = self.files[self.placed[name]].get_tensor(name)
        return found


def merge_weights(
    folders: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    dtype: torch.dtype | None = None,
) -> Merged:
    """Write the weighted mean of checkpoints; without ``weights`` they all count the same.

    Means are computed in float64 and rounded once, to the first checkpoint's types or to ``dtype``.
    Files are laid out as the first checkpoint's, and its configuration and tokenizer are copied.
    Raises `UsageError` where ``out`` exists or the weights do not fit, and `DataError` where
    checkpoints have other architectures, tensors or shapes, or are damaged.
    """
    shares = _shares(len(folders), weights)
    if out.exists():
        raise UsageError(f"{out}: exists already; name a folder that does not")
    with ExitStack() as stack:
        checkpoints = [open_checkpoint(folder, stack) for folder in folders]
        for checkpoint in checkpoints[1:]:
            _require_same(checkpoints[0], checkpoint)
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            merged = _write(checkpoints, shares, unfinished, dtype)
            unfinished.chmod(0o755)
            unfinished.rename(out)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    return Merged(out, *merged)


def open_checkpoint(folder: Path, stack: ExitStack) -> Checkpoint:
    """Open a checkpoint's files for the time of ``stack``; no tensor is read.

    Raises `DataError` for a folder that holds none, and for missing, cut or damaged files.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no checkpoint folder, config.json: {error}") from error
    config = config if isinstance(config, dict) else {}
    if (folder / INDEX).is_file():
        indexed = _indexed(folder / INDEX)
    elif (folder / WEIGHTS).is_file():
        indexed = {}
    else:
        raise DataError(f"{folder}: holds neither {WEIGHTS} nor {INDEX}")
    names = sorted(set(indexed.values())) or [WEIGHTS]
    files = {name: _opened(folder / name, stack) for name in names}
    placed = {tensor: name for name, file in files.items() for tensor in file.keys()}  # noqa: SIM118
    for tensor, name in indexed.items():
        if placed.get(tensor) != name:
            raise DataError(f"{folder / name}: lacks the tensor {tensor}, which {INDEX} puts there")
    if _is_tied(config):
        placed.pop(TIED_HEAD, None)
    shapes = {
        tensor: tuple(files[name].get_slice(tensor).get_shape()) for tensor, name in placed.items()
    }
    return Checkpoint(folder, config, files, placed, shapes)


def _opened(path: Path, stack: ExitStack) -> Any:
    try:
        return stack.enter_context(safe_open(path, framework="pt"))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path}: is no whole safetensors file ({error}); was it cut off?"
        ) from error


def _indexed(index: Path) -> dict[str, str]:
    """Tensor names and the files they are in. Names of other folders' files are refused."""
    try:
        placed = json.loads(index.read_bytes())["weight_map"]
        if any(Path(file).name != file for file in placed.values()):
            raise ValueError("names files outside the folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index}: is no index of tensors ({error})") from error
    return dict(placed)


def _is_tied(config: dict[str, Any]) -> bool:
    """Whether the output layer is the embedding."""
    text = config.get("text_config") or {}
    return bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    if not count:
        raise UsageError("name the checkpoints to merge")
    weights = weights or [1.0] * count
    if len(weights) != count or not all(0 <= weight < float("inf") for weight in weights):
        raise UsageError(f"weights {list(weights)}: give {count} numbers from 0 on")
    if not any(weights):
        raise UsageError("weights: all are 0")
    return list(weights)


def _require_same(first: Checkpoint, other: Checkpoint) -> None:
    """Raise `DataError` where two checkpoints are not of one architecture."""
    for key in ARCHITECTURE:
        ours, theirs = first.config.get(key), other.config.get(key)
        if ours != theirs:
            raise DataError(
                f"{key}: {ours} in {first.folder}, {theirs} in {other.folder}; these are different "
                "architectures"
            )
    for lacking, having in ((other, first), (first, other)):
        if names := having.shapes.keys() - lacking.shapes.keys():
            raise DataError(
                f"{lacking.folder}: lacks {len(names)} tensors that {having.folder} has "
                f"({', '.join(sorted(names)[:3])}); these are different architectures"
            )
    for name, shape in first.shapes.items():
        if shape != other.shapes[name]:
            raise DataError(
                f"{name}: {list(shape)} in {first.folder}, {list(other.shapes[name])} in "
                f"{other.folder}; these are different architectures"
            )


def _write(
    checkpoints: Sequence[Checkpoint],
    shares: Sequence[float],
    folder: Path,
    dtype: torch.dtype | None,
) -> tuple[int, int, int]:
    first = checkpoints[0]
    size = parameters = 0
    for file in first.files:
        names = [name for name, placed in first.placed.items() if placed == file]
        merged = {}
        for name in names:
            mean = _mean(name, [each.tensor(name) for each in checkpoints], shares, dtype)
            merged[name] = mean
            size += mean.numel() * mean.element_size()
            parameters += mean.numel()
        save_file(merged, folder / file, metadata={"format": "pt"})
    if list(first.files) != [WEIGHTS]:
        index = {"metadata": {"total_size": size}, "weight_map": first.placed}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    _copy_settings(first, folder, dtype)
    return len(first.placed), parameters, len(first.files)


def _mean(
    name: str, tensors: Sequence[Tensor], shares: Sequence[float], dtype: torch.dtype | None
) -> Tensor:
    first = tensors[0]
    if any(tensor.is_floating_point() != first.is_floating_point() for tensor in tensors):
        raise DataError(f"{name}: whole numbers in one checkpoint, fractions in another")
    if not first.is_floating_point():
        if any(not torch.equal(first, tensor) for tensor in tensors[1:]):
            raise DataError(f"{name}: whole numbers that differ cannot be averaged")
        return first
    weighted = torch.zeros_like(first, dtype=torch.float64)
    for tensor, share in zip(tensors, shares, strict=True):
        weighted.add_(tensor.to(torch.float64), alpha=share)
    mean = (weighted / sum(shares)).to(dtype or first.dtype)
    if not mean.isfinite().all():
        raise DataError(f"{name}: holds numbers that are not finite")
    return mean.contiguous()


def _copy_settings(first: Checkpoint, folder: Path, dtype: torch.dtype | None) -> None:
    """Configuration, tokenizer and the like: small text files, but for the state of a training."""
    for path in sorted(first.folder.iterdir()):
        is_setting = path.suffix in SETTINGS_SUFFIXES and path.name not in NOT_SETTINGS
        if is_setting and path.is_file():
            shutil.copyfile(path, folder / path.name)
    if dtype is not None:
        config = _retyped(first.config, str(dtype).removeprefix("torch."))
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _retyped(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The configuration, in which every part that names the weights' type names this one."""
    return {
        key: _retyped(value, dtype)
        if isinstance(value, dict)
        else dtype
        if key in ("dtype", "torch_dtype")
        else value
        for key, value in config.items()
    }
