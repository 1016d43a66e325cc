"""What identifies the things that a run is made with, beside annotations and tasks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from migbench.errors import DataError
from migbench.models.checkpoint_config import cached_config
from migbench.models.resolving import Model, load_profiles, resolve_model
from migbench.util.input_files import SMALL, open_regular

_WHOLE = 1 << 20
_SAMPLES = 16
_SAMPLE = 1 << 16


def fingerprint_of_profile(model: Model) -> str | None:
    """SHA-256 of what the model's profile says now; None where the model is not a profile's.

    The dialect is left out: a manifest holds it whole. So are title, source and notes.
    """
    profile = load_profiles().get(model.name)
    if profile is None or profile.checkpoint != model.checkpoint:
        return None
    content = msgspec.to_builtins(resolve_model(model.name)) | {"dialect": profile.dialect}
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def fingerprint_of_adapter(model: Model, folder: Path = Path()) -> str | None:
    """SHA-256 of the Python file that holds the adapter; None for an installed one, or without it.

    ``folder`` is where a relative path begins.
    """
    path = adapter_file(model, folder)
    if path is None or not path.is_file():
        return None
    with open_regular(path, SMALL) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def adapter_file(model: Model, folder: Path = Path()) -> Path | None:
    """The Python file that the adapter's name leads to; None for an installed adapter."""
    path, colon, _ = model.adapter.rpartition(":")
    return folder / path if colon and path.endswith(".py") else None


def fingerprint_of_checkpoint(model: Model) -> str | None:
    """What identifies the checkpoint: a hub's commit, or a hash of a folder's files.

    Files of up to a MiB are hashed whole; of larger ones the size and 16 blocks of 64 KiB, evenly
    spread: training changes all of a kind file, and no more than a MiB of it has to be read. None
    where the checkpoint is neither a folder nor in the hub's cache: a served model's, say. Raises
    `DataError` where a file cannot be read.
    """
    if model.checkpoint is None:
        return None
    folder = Path(model.checkpoint)
    if not folder.is_dir():
        config = cached_config(model.checkpoint, model.revision)
        return f"commit {config.parent.name}" if config else None
    digest = hashlib.sha256()
    try:
        for name, path in _files(folder):
            size = path.stat().st_size
            digest.update(f"{name}\0{size}\0".encode())
            for block in _blocks(path, size):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error
    return f"files {digest.hexdigest()}"


def _files(folder: Path) -> list[tuple[str, Path]]:
    """A checkpoint's own files by name; hidden ones, and folders such as a trainer's, are not."""
    return sorted(
        (path.name, path)
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".")
    )


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if size <= _WHOLE:
            yield file.read()
            return
        for number in range(_SAMPLES):
            file.seek(number * (size - _SAMPLE) // (_SAMPLES - 1), os.SEEK_SET)
            yield file.read(_SAMPLE)
