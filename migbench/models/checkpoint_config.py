"""Which dialects a checkpoint speaks, as far as its configuration or a profile says it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from migbench.dialects import load_dialects
from migbench.errors import DataError
from migbench.models.resolving import load_profiles
from migbench.util.input_files import SMALL, read_bytes


def model_type_of(checkpoint: str, revision: str | None = None) -> str | None:
    """The ``model_type`` of a folder, of a packaged checkpoint, or of one in the hub's cache.

    None where it is not known here; the network is not asked.
    """
    config = _config(checkpoint, revision)
    if config is None or not config.is_file():
        return None
    try:
        said = json.loads(read_bytes(config, SMALL)).get("model_type")
    except (ValueError, AttributeError, RecursionError, DataError):
        return None  # Whoever loads it says what is wrong with it.
    return said if isinstance(said, str) else None


def dialects_of(model_types: Iterable[str]) -> list[str]:
    """The dialects that claim one of these types."""
    known = frozenset(model_types)
    return [name for name, each in load_dialects().items() if known.intersection(each.model_types)]


def dialects_in_profiles(checkpoints: Iterable[str]) -> list[str]:
    """The dialects that profiles declare for these very checkpoints."""
    known = frozenset(checkpoints)
    profiles = load_profiles().values()
    return list(dict.fromkeys(each.dialect for each in profiles if each.checkpoint in known))


def _config(checkpoint: str, revision: str | None) -> Path | None:
    from model_adapters.checkpoints import PACKAGED, packaged_file

    if checkpoint.startswith(PACKAGED):
        return packaged_file(checkpoint.removeprefix(PACKAGED), "config.json")
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder / "config.json"
    return cached_config(checkpoint, revision) if checkpoint.count("/") == 1 else None


def cached_config(checkpoint: str, revision: str | None) -> Path | None:
    """The configuration of a hub's checkpoint in the hub's cache; the network is not asked.

    None where it is not there, and for a served model's name.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
    except HFValidationError:
        return None  # A served model's name, which no hub would take.
    return Path(found) if isinstance(found, str) else None
