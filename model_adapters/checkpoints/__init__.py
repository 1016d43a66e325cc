"""What a user may name as a checkpoint: a folder, a hub id, or one that is packaged here.

Packaged ones are folders beside this file in a clone, and are named ``packaged:NAME``. Each has a
file ``SHA256SUMS``, as ``sha256sum`` writes it, and is loaded only where its files are the ones
that were measured. A wheel holds the sums alone.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from migbench.messages import AdapterError

__all__ = [
    "PACKAGED",
    "SUMS",
    "VARIABLE",
    "folder_or_hub_id",
    "packaged_file",
    "packaged_folder",
    "write_sums",
]

PACKAGED = "packaged:"
SUMS = "SHA256SUMS"
VARIABLE = "MIGBENCH_CHECKPOINTS"
_HERE = Path(__file__).parent


def folder_or_hub_id(checkpoint: str) -> str:
    """The checkpoint as libraries want it.

    Raises `AdapterError` for a path that does not exist, and for a packaged one that is damaged.
    """
    if checkpoint.startswith(PACKAGED):
        return str(packaged_folder(checkpoint.removeprefix(PACKAGED)))
    folder = Path(checkpoint).expanduser()
    if folder.exists():
        if not (folder / "config.json").is_file():
            raise AdapterError(f"{checkpoint} is no checkpoint folder: it has no config.json")
        return str(folder)
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        raise AdapterError(f"{checkpoint}: there is no such folder; give a folder or a hub id")
    return checkpoint


def packaged_file(name: str, file: str) -> Path | None:
    """A file of a packaged checkpoint, unchecked; None where there is none here."""
    path = _place(name, _HERE) / file
    return path if path.is_file() else None


def packaged_folder(name: str, among: Path = _HERE) -> Path:
    """A packaged checkpoint's folder, once its files are found to be what they were.

    Only a clone holds the files; elsewhere the variable ``MIGBENCH_CHECKPOINTS`` names the folder
    that they are in, below their name. Raises `AdapterError` where there is none of this name, or a
    file is missing or changed.
    """
    known = sorted(path.parent.name for path in among.glob(f"*/{SUMS}"))
    if name not in known:
        raise AdapterError(f"{PACKAGED}{name}: no such checkpoint; there is {', '.join(known)}")
    folder = _place(name, among)
    sums = [
        line.partition("  ")[::2] for line in (among / name / SUMS).read_text("utf-8").splitlines()
    ]
    if not any((folder / file).exists() for _, file in sums):
        raise AdapterError(
            f"{PACKAGED}{name}: its files are in a clone of migbench alone, in "
            f"model_adapters/checkpoints: export {VARIABLE}=CLONE/model_adapters/checkpoints, or "
            f"give the folder itself: --model CLONE/model_adapters/checkpoints/{name}"
        )
    for expected, file in sums:
        try:
            found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        except OSError as error:
            raise AdapterError(f"{PACKAGED}{name}: {file} cannot be read ({error})") from error
        if found != expected:
            raise AdapterError(
                f"{PACKAGED}{name}: {file} is not the file that was packaged (SHA-256 {found}, "
                f"{expected} expected); get it anew"
            )
    return folder


def _place(name: str, among: Path) -> Path:
    """Where a packaged checkpoint's files are to be: where the user says, else beside this file."""
    named = os.environ.get(VARIABLE)
    return (Path(named).expanduser() if named else among) / name


def write_sums(folder: Path) -> None:
    """Write the sums of a checkpoint's files, but for its model card."""
    files = sorted(path for path in folder.iterdir() if path.name not in (SUMS, "README.md"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")
