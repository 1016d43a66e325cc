"""Model merging (section 4.3): the average of checkpoints' weights, tensor by tensor.

A few megabytes are in memory at a time, so that 7B checkpoints merge on any machine. Everything is
checked before anything is written, and the result appears under its name when it is complete.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migbench.errors import DataError, UsageError
from migtrain.tensor_files import (
    FLOATS,
    INDEX,
    WEIGHTS,
    Checkpoint,
    StoredTensor,
    from_float32,
    read_checkpoint,
    to_float32,
    write_header,
)

CHUNK = 1 << 22
"""How many numbers of a tensor are in memory at a time."""

_TRAINING_STATE = ("trainer_state.json", INDEX)
_LONG_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written: so many tensors and numbers, in so many files."""

    folder: Path
    tensors: int
    parameters: int
    files: int


def merge_weights(
    folders: Sequence[Path],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    dtype: str | None = None,
) -> Merged:
    """Write the weighted mean of checkpoints; without ``weights`` they all count the same.

    Tensors are averaged in float32 and stored in the first checkpoint's types, or in ``dtype``
    (F32, F16, BF16); files are laid out as the first checkpoint's, and its configuration and
    tokenizer are copied. Raises `UsageError` where ``out`` exists or the weights do not fit, and
    `DataError` where checkpoints lack tensors, have other shapes, or are damaged.
    """
    shares = _shares(len(folders), weights)
    if out.exists():
        raise UsageError(f"{out}: exists already; name a folder that does not")
    checkpoints = [read_checkpoint(folder) for folder in folders]
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


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    if not count:
        raise UsageError("name the checkpoints to merge")
    weights = weights or [1.0] * count
    if len(weights) != count or not all(0 <= weight < float("inf") for weight in weights):
        raise UsageError(f"weights {list(weights)}: give {count} numbers from 0 on")
    if not any(weights):
        raise UsageError("weights: all are 0")
    return [weight / sum(weights) for weight in weights]


def _require_same(first: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = first.tensors, other.tensors
    for names, lacking, having in (
        (ours.keys() - theirs.keys(), other, first),
        (theirs.keys() - ours.keys(), first, other),
    ):
        if names:
            raise DataError(
                f"{lacking.folder}: lacks {len(names)} tensors that {having.folder} has "
                f"({', '.join(sorted(names)[:3])}); these are different architectures"
            )
    for name, tensor in ours.items():
        if tensor.shape != theirs[name].shape:
            raise DataError(
                f"{name}: {list(tensor.shape)} in {first.folder}, "
                f"{list(theirs[name].shape)} in {other.folder}; these are different architectures"
            )
        if (tensor.dtype in FLOATS) != (theirs[name].dtype in FLOATS):
            raise DataError(f"{name}: {tensor.dtype} in {first.folder}, {theirs[name].dtype} there")


def _write(
    checkpoints: Sequence[Checkpoint], shares: Sequence[float], folder: Path, dtype: str | None
) -> tuple[int, int, int]:
    first = checkpoints[0]
    placed: dict[str, str] = {}
    size = parameters = 0
    for file_name, tensors in first.files.items():
        kept = {name: tensor for name, tensor in tensors.items() if name in first.tensors}
        types = {
            name: dtype if dtype and tensor.dtype in FLOATS else tensor.dtype
            for name, tensor in kept.items()
        }
        with (folder / file_name).open("wb") as file:
            write_header(file, ((name, types[name], each.shape) for name, each in kept.items()))
            begin = file.tell()
            for name, tensor in kept.items():
                alike = [checkpoint.tensors[name] for checkpoint in checkpoints]
                for chunk in _averaged(name, alike, shares, types[name]):
                    file.write(chunk.tobytes())
                placed[name] = file_name
                parameters += tensor.count
            size += file.tell() - begin
    if list(first.files) != [WEIGHTS]:
        index = {"metadata": {"total_size": size}, "weight_map": placed}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    _copy_settings(first, folder, dtype)
    return len(placed), parameters, len(first.files)


def _averaged(
    name: str, tensors: Sequence[StoredTensor], shares: Sequence[float], dtype: str
) -> Iterator[NDArray[Any]]:
    first = tensors[0]
    for start in range(0, first.count, CHUNK):
        count = min(CHUNK, first.count - start)
        parts = [tensor.read(start, count) for tensor in tensors]
        if first.dtype not in FLOATS:
            if any(not np.array_equal(parts[0], part) for part in parts[1:]):
                raise DataError(f"{name}: whole numbers that differ cannot be averaged")
            yield parts[0]
            continue
        mean = np.zeros(count, np.float32)
        for part, tensor, share in zip(parts, tensors, shares, strict=True):
            mean += np.float32(share) * to_float32(part, tensor.dtype)
        if not np.isfinite(mean).all():
            raise DataError(f"{name}: holds numbers that are not finite")
        yield from_float32(mean, dtype)


def _copy_settings(first: Checkpoint, folder: Path, dtype: str | None) -> None:
    """Configuration, tokenizer and the like: small text files, but for the state of a training."""
    for path in sorted(first.folder.iterdir()):
        is_setting = path.suffix in (".json", ".txt", ".jinja", ".model")
        if is_setting and path.name not in _TRAINING_STATE and path.is_file():
            shutil.copyfile(path, folder / path.name)
    if dtype is not None:
        config = _retyped(first.config, _LONG_NAMES[dtype])
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
