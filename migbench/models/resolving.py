"""Models: from what the user names to a full description of what is run and how it is read.

A profile is a named model: checkpoint, dialect, adapter, settings, corrections. Profiles and
adapters are found by entry point (``migbench.profiles``, ``migbench.model_adapters``), a third
party's like our own, or an adapter by ``path/to/file.py:Class``.
"""

from __future__ import annotations

import json
import logging
import operator
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from migbench.boxes import Frame, SmartResized
from migbench.dialects import Dialect, find_dialect, load_dialects, undeclared_families
from migbench.errors import AdapterError, DataError, UsageError
from migbench.messages import Generation, Resizing
from migbench.models.corrections import Correction
from migbench.models.credentials import refuse_secrets_of
from migbench.util.input_files import SMALL, read_bytes
from migbench.util.suggestions import did_you_mean
from migbench.util.yaml_files import as_record, read_yaml

_log = logging.getLogger(__name__)


class Pixels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the image area that the model sees, in pixels; None leaves the model's own."""

    min: int | None = None
    max: int | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named model, as its YAML file gives it."""

    name: str
    title: str
    checkpoint: str | None = None
    revision: str | None = None
    adapter: str = "transformers"
    dialect: str
    generation: Generation = Generation()
    pixels: Pixels = Pixels()
    settings: dict[str, Any] = {}
    """Keywords of the adapter's constructor."""
    corrections: Correction | None = None
    published: str | None = None
    """The row of Table 1 or 11 that is this model's, under direct inference."""
    status: Literal["verified", "unverified"] = "unverified"
    source: str
    notes: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides a model's answers and how they are read; part of a run's manifest."""

    name: str
    checkpoint: str | None
    revision: str | None
    adapter: str
    dialect: Dialect
    generation: Generation
    pixels: Pixels
    settings: dict[str, Any]
    corrections: Correction | None
    frame_from: Literal["processor"] | None = None
    """``processor`` where the dialect's frame is what the model's image processor said of itself;
    else it is declared: by the dialect, a profile or the user."""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about a model, beyond its name."""

    adapter: str | None = None
    dialect: Dialect | None = None
    revision: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    pixels: Pixels = Pixels()
    settings: Mapping[str, Any] = {}


@cache
def load_profiles() -> dict[str, Profile]:
    """All profiles by name; a name that two packages claim is refused. Raises `DataError`."""
    profiles: dict[str, Profile] = {}
    for entry in sorted(entry_points(group="migbench.profiles"), key=lambda entry: entry.name):
        folder = Path(str(files(entry.value)))
        for path in sorted(folder.glob("*.yaml")):
            if path.stem in profiles:
                raise DataError(f"{path}: a profile named {path.stem} exists already")
            record = {"name": path.stem, **read_yaml(path)}
            profiles[path.stem] = as_record(record, Profile, path)
    return profiles


def resolve_model(name: str, overrides: Overrides = Overrides()) -> Model:
    """The model that the user means: a profile, a checkpoint folder, or a name for an adapter.

    Raises `UsageError` where the dialect is not known (it is declared, never guessed), where its
    family answers with something else than boxes, and where a setting holds a secret.
    """
    profile = load_profiles().get(name) or _profile_of_checkpoint(name, overrides)
    adapter = overrides.adapter or profile.adapter
    # A profile's settings are keywords of its own adapter; another one has other keywords.
    settings = profile.settings if adapter == profile.adapter else {}
    pixels = Pixels(
        min=overrides.pixels.min or profile.pixels.min,
        max=overrides.pixels.max or profile.pixels.max,
    )
    dialect = overrides.dialect or find_dialect(profile.dialect)
    if dialect.unsupported:
        raise UsageError(f"--model {name}: {dialect.title} {dialect.unsupported}")
    model = Model(
        name=profile.name,
        checkpoint=profile.checkpoint,
        revision=overrides.revision or profile.revision,
        adapter=adapter,
        dialect=dialect.with_pixels(pixels.min, pixels.max),
        generation=_override(profile.generation, overrides),
        pixels=pixels,
        settings=merged_settings(settings, overrides.settings),
        corrections=profile.corrections,
    )
    refuse_secrets_of(model)
    return model


def merged_settings(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides over the settings; a mapping over a mapping replaces single entries of it."""
    merged = {**settings, **overrides}
    for name in settings.keys() & overrides.keys():
        if isinstance(settings[name], Mapping) and isinstance(overrides[name], Mapping):
            merged[name] = {**settings[name], **overrides[name]}
    return merged


def resizing_of_adapter(adapter: object) -> Resizing | None:
    """What an adapter says of its model's image processor; None where it says nothing.

    Raises `AdapterError` where that is no `Resizing` of three whole numbers that fit together.
    """
    try:
        said = getattr(adapter, "resizing", None)
        if said is None:
            return None
        factor, smallest, largest = (operator.index(number) for number in said)
        SmartResized(factor=factor, min_pixels=smallest, max_pixels=largest)
    except Exception as error:  # whatever a class of the user's raises
        raise AdapterError(
            f"the adapter's `resizing` is no Resizing(factor, min_pixels, max_pixels): "
            f"{type(error).__name__}"
        ) from error
    return Resizing(factor, smallest, largest)


def with_resizing(model: Model, resizing: Resizing | None) -> Model:
    """The model as it is run: its boxes in pixels count in the frame that its processor makes.

    ``resizing`` is what the processor says; None where nobody can be asked, as of a server, and the
    declared frame is assumed. Either is said in a warning where it may surprise. A frame that a
    user has declared for a dialect of their own stays.
    """
    dialect, declared = model.dialect, model.dialect.frame
    if dialect.scale != "pixels" or not isinstance(declared, SmartResized):
        return model
    if resizing is None:
        _log.warning(
            "%s: boxes are read in pixels of images resized to %s, as declared. Whether the model's"
            " processor has these bounds cannot be asked: if it has others, say --min-pixels and "
            "--max-pixels",
            model.name,
            _described(declared),
        )
        return model
    used = SmartResized(
        factor=resizing.factor, min_pixels=resizing.min_pixels, max_pixels=resizing.max_pixels
    )
    if dialect.name == "custom":
        if used != declared:
            _log.warning(
                "%s: boxes are read in pixels of images resized to %s, as declared, but the "
                "model's processor resizes to %s",
                model.name,
                _described(declared),
                _described(used),
            )
        return model
    if used != declared:
        _log.warning(
            "%s: boxes are read in pixels of images resized to %s, as the model's processor does, "
            "not to %s, as dialect %s has it",
            model.name,
            _described(used),
            _described(declared),
            dialect.name,
        )
    return _with_frame(model, used)


def with_known_frame(model: Model, earlier: Model) -> Model:
    """The model as declared, with the frame that its processor was found to use earlier.

    Plans have the declared frame, since a processor can be asked only when its model is loaded.
    """
    if earlier.frame_from is None or model.dialect.name != earlier.dialect.name:
        return model
    return _with_frame(model, earlier.dialect.frame)


def _with_frame(model: Model, frame: Frame) -> Model:
    dialect = msgspec.structs.replace(model.dialect, frame=frame)
    return msgspec.structs.replace(model, dialect=dialect, frame_from="processor")


def _described(frame: SmartResized) -> str:
    return f"multiples of {frame.factor}, {frame.min_pixels} to {frame.max_pixels} pixels in all"


def _override(generation: Generation, overrides: Overrides) -> Generation:
    changes = {
        field: value
        for field in ("max_new_tokens", "temperature", "seed")
        if (value := getattr(overrides, field)) is not None
    }
    return msgspec.structs.replace(generation, **changes)


def _profile_of_checkpoint(name: str, overrides: Overrides) -> Profile:
    """A profile for a checkpoint folder, a hub id or a served model's name."""
    path = Path(name)
    is_known_kind = overrides.adapter is not None or path.is_dir() or name.count("/") == 1
    if not is_known_kind:
        raise UsageError(
            f"--model {name}: no such profile or folder{did_you_mean(name, load_profiles())}. "
            "`migbench models` lists the profiles; "
            "a checkpoint is a folder or a hub id (owner/name); "
            "with --adapter any name will do"
        )
    dialect = overrides.dialect.name if overrides.dialect else _native_dialect(name, path)
    return Profile(
        name=path.resolve().name if path.is_dir() else name,
        title=name,
        checkpoint=str(path.resolve()) if path.is_dir() else name,
        dialect=dialect,
        source="given on the command line",
    )


def _native_dialect(name: str, folder: Path) -> str:
    """The dialect that claims a checkpoint's ``model_type``. Raises `UsageError` if none does."""
    config = folder / "config.json"
    model_type = None
    if config.is_file():
        try:
            model_type = json.loads(read_bytes(config, SMALL))["model_type"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{config}: not a checkpoint's configuration ({error})") from error
    claims = [
        dialect.name for dialect in load_dialects().values() if model_type in dialect.model_types
    ]
    if len(claims) == 1:
        return claims[0]
    found = f"no dialect claims its model_type {model_type!r}" if model_type else "not a profile"
    for family in undeclared_families():
        if model_type in family.model_types:
            found = (
                f"nothing is published about the boxes of {family.title} (looked for in: "
                f"{family.searched})"
            )
    raise UsageError(
        f"--model {name}: {found}; say how the model writes boxes: --dialect NAME "
        f"({', '.join(load_dialects())}), a file that describes one, or custom"
    )
