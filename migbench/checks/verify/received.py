"""What a received run names and only the user may choose: code, models, addresses, folders, keys.

A run that this user made here may be repeated as it stands. Of any other the adapter's file, the
checkpoint, the image folder and every text among the adapter's settings must be named again on the
command line, unless an installed profile says the same of the same model.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from migbench.models.resolving import Model, load_profiles, resolve_model
from migbench.runs.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the command line says: ``images`` whether it names an image folder."""

    adapter_file: Path | None = None
    checkpoint: str | None = None
    images: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def missing_options(manifest: Manifest, given: Given) -> list[tuple[str, str]]:
    """What a received run would decide, and the options by which the user decides it instead."""
    model = manifest.settings.model
    known = resolve_model(model.name) if model.name in load_profiles() else None
    return [
        *_adapter(model, given),
        *_checkpoint(model, known, given),
        *_settings(model, known, given),
        *_images(manifest, given),
    ]


def _adapter(model: Model, given: Given) -> Iterator[tuple[str, str]]:
    path, colon, _ = model.adapter.rpartition(":")
    if colon and given.adapter_file is None:
        yield f"run the code of {path}", "--trust-adapter FILE.py"


def _checkpoint(model: Model, known: Model | None, given: Given) -> Iterator[tuple[str, str]]:
    if model.checkpoint is None or given.checkpoint is not None:
        return
    if known and (known.checkpoint, known.revision) == (model.checkpoint, model.revision):
        return
    if "base_url" in given.settings:
        return  # What a model is called at an address that the user names is no place.
    if ":" in model.adapter and "/" not in model.checkpoint:
        return  # A name, given to a class that the user has to trust.
    yield f"load the checkpoint {model.checkpoint}", f"--checkpoint {_quoted(model.checkpoint)}"


def _settings(model: Model, known: Model | None, given: Given) -> Iterator[tuple[str, str]]:
    """Settings that are texts: a number can name neither an address nor a file nor a variable."""
    same = known.settings if known and known.adapter == model.adapter else {}
    for name, value in model.settings.items():
        if not _holds_text(value) or name in given.settings or same.get(name) == value:
            continue
        shown = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n")
        if name == "base_url":
            addresses = value if isinstance(value, list) else [value]
            option = " ".join(f"--endpoint {_quoted(each)}" for each in addresses)
            yield f"ask the server {shown.strip()}", option
        else:
            option = f"--model-arg {_quoted(f'{name}={shown.strip()}')}"
            yield f"use the setting {name}", option


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_text, value.values()))
    if isinstance(value, list):
        return any(map(_holds_text, value))
    return isinstance(value, str)


def _images(manifest: Manifest, given: Given) -> Iterator[tuple[str, str]]:
    if manifest.images is not None and not given.images:
        yield f"read images below {manifest.images}", "--images FOLDER, or --data"


def _quoted(text: object) -> str:
    return shlex.quote(str(text))
