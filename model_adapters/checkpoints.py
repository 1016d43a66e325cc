"""What a user may name as a checkpoint: a folder, or a hub id."""

from __future__ import annotations

from pathlib import Path

from migbench.messages import AdapterError

__all__ = ["folder_or_hub_id"]


def folder_or_hub_id(checkpoint: str) -> str:
    """The checkpoint as libraries want it. Raises `AdapterError` for a path that does not exist."""
    folder = Path(checkpoint).expanduser()
    if folder.exists():
        if not (folder / "config.json").is_file():
            raise AdapterError(f"{checkpoint} is no checkpoint folder: it has no config.json")
        return str(folder)
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        raise AdapterError(f"{checkpoint}: there is no such folder; give a folder or a hub id")
    return checkpoint
