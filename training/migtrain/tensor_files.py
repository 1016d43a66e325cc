"""Checkpoint folders as they lie on disk: safetensors files, single or in shards, read by header.

The format is small enough to be read here: eight bytes that say how long the JSON header is, the
header (type, shape and place of each tensor), and the tensors' bytes. So a checkpoint of any size
can be looked over, checked and streamed without torch and without loading it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from migbench.errors import DataError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TIED_HEAD = "lm_head.weight"

LONGEST_HEADER = 100 << 20
"""Bytes, the format's own limit."""

_STORED: dict[str, type[np.generic]] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # numpy has no bfloat16: its bits
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
FLOATS = ("F64", "F32", "F16", "BF16")

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: its type and shape, and the byte where it begins."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Some of its elements, flat, as they are stored (bfloat16 as bits)."""
        kind = np.dtype(_STORED[self.dtype])
        return np.fromfile(self.file, kind, count, offset=self.start + first * kind.itemsize)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: its configuration, and its tensors by file and by name.

    ``tied`` says that the output layer is the embedding, whether or not it is stored again.
    """

    folder: Path
    config: dict[str, Any]
    files: dict[str, dict[str, StoredTensor]]

    @property
    def tied(self) -> bool:
        """Whether the configuration ties the output layer to the embedding."""
        text = self.config.get("text_config") or {}
        return bool(self.config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))

    @property
    def tensors(self) -> dict[str, StoredTensor]:
        """All tensors that count: without an output layer that is stored and not used."""
        return {
            name: tensor
            for tensors in self.files.values()
            for name, tensor in tensors.items()
            if not (self.tied and name == TIED_HEAD)
        }


def read_checkpoint(folder: Path) -> Checkpoint:
    """Look over a checkpoint; no tensor is read.

    Raises `DataError` for a folder that holds none, and for missing, cut or damaged files.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no checkpoint folder, config.json: {error}") from error
    if (folder / INDEX).is_file():
        placed = _placed(folder / INDEX)
        names = sorted(set(placed.values()))
    elif (folder / WEIGHTS).is_file():
        placed, names = {}, [WEIGHTS]
    else:
        raise DataError(f"{folder}: holds neither {WEIGHTS} nor {INDEX}")
    files = {name: read_header(folder / name) for name in names}
    for tensor, file in placed.items():
        if tensor not in files[file]:
            raise DataError(f"{folder / file}: lacks the tensor {tensor}, which {INDEX} puts there")
    return Checkpoint(folder, config if isinstance(config, dict) else {}, files)


def _placed(index: Path) -> dict[str, str]:
    """Tensor names and the files they are in. Names of other folders' files are refused."""
    try:
        placed = json.loads(index.read_bytes())["weight_map"]
        if any(Path(file).name != file for file in placed.values()):
            raise ValueError("names files outside the folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index}: is no index of tensors ({error})") from error
    return dict(placed)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file. Raises `DataError` where its size is not what its header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, LONGEST_HEADER):
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        begin = 8 + length
        tensors = {name: _tensor(path, entry, begin) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataError(f"{path}: is no whole safetensors file ({error})") from error
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != begin + end:
        raise DataError(
            f"{path}: has {size} bytes where its header says {begin + end}; was it cut off?"
        )
    return tensors


def _tensor(path: Path, entry: Mapping[str, Any], begin: int) -> StoredTensor:
    start, end = entry["data_offsets"]
    tensor = StoredTensor(path, entry["dtype"], tuple(entry["shape"]), begin + start)
    if tensor.dtype not in _STORED:
        raise ValueError(f"unknown type {tensor.dtype}")
    if end - start != tensor.count * np.dtype(_STORED[tensor.dtype]).itemsize or start < 0:
        raise ValueError(f"{end - start} bytes for {tensor.dtype} {list(tensor.shape)}")
    return tensor


def write_header(file: IO[bytes], tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> None:
    """Begin a file: names, types and shapes of the tensors whose bytes will follow, in order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in tensors:
        start, end = end, end + math.prod(shape) * np.dtype(_STORED[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)  # the tensors begin at a multiple of eight bytes
    file.write(struct.pack("<Q", len(content)) + content)


def to_float32(stored: NDArray[Any], dtype: str) -> Float32:
    """Stored numbers as float32.

    >>> to_float32(np.array([0x3F80], np.uint16), "BF16")
    array([1.], dtype=float32)
    """
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def from_float32(numbers: Float32, dtype: str) -> NDArray[Any]:
    """Finite float32 numbers as they are stored, rounded to the nearest, ties to even.

    >>> hex(from_float32(np.array([1.0], np.float32), "BF16")[0])
    '0x3f80'
    """
    if dtype == "BF16":
        bits = numbers.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return numbers.astype(_STORED[dtype])
