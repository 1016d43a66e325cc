"""What decides a run's answers, and what tells two runs apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from migbench.data.versions import Identity
from migbench.dialects import Dialect
from migbench.models.resolving import Model
from migbench.runs.sharding import Shard


class AnnotationSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which annotation file a run is on."""

    path: str
    content_sha256: str | None = None
    """What the file is known by (`migbench.data.content`); None in runs of earlier versions."""
    sha256: str | None = None
    """Of the file's bytes, as they were: what runs of earlier versions know their file by."""
    version: str
    scale: float

    @property
    def identity(self) -> Identity:
        """Which file it is, wherever it lies."""
        return Identity(self.content_sha256, self.sha256)

    def is_same(self, other: AnnotationSource) -> bool:
        """Whether scores on both can be compared: the same records, in the same scale."""
        return self.identity.is_same(other.identity) and self.scale == other.scale

    @property
    def label(self) -> str:
        """Its name under a table."""
        if self.version != "custom":
            return self.version
        return f"{Path(self.path).name} ({self.identity.short[:8]})"

    @property
    def description(self) -> str:
        """What tells it apart from others, for messages."""
        return f"{self.label}, {self.identity.short}, scale {self.scale:g}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a run's answers; a run is resumed only under equal settings."""

    model: Model
    evaluator: str = "polling"
    strategy: str = "direct"
    prompts: str = "released"
    annotations: AnnotationSource
    tasks: dict[str, str]
    """SHA-256 of the task's definition, by key of the tasks that were asked."""
    limit: int | None = None
    shard: Shard | None = None
    """The part of the questions that is asked, if not all."""
    instances: tuple[str, ...] | None = None
    """The ids of the instances that are asked about, in their order, if not all."""


def differences(
    old: Settings, new: Settings, serving: Iterable[str] = ()
) -> list[tuple[str, Any, Any]]:
    """Names of the settings that differ, each with its old and its new value.

    ``serving`` names the adapter's settings that may differ: those that say how a model is served,
    which does not change what it says. A dot leads into a setting that is a mapping.
    """
    before, after = comparable(old, serving), comparable(new, serving)
    same = old.annotations.is_same(new.annotations)
    for plain, source in ((before, old.annotations), (after, new.annotations)):
        # The same file can be known by its content in one run, and by its bytes in an older one.
        plain["annotations"] = None if same else source.description
    return list(_differences(before, after))


def model_differences(
    old: Model, new: Model, serving: Iterable[str] = ()
) -> list[tuple[str, Any, Any]]:
    """The same of two models alone."""
    return list(_differences(_comparable_model(old, serving), _comparable_model(new, serving)))


def comparable(settings: Settings, serving: Iterable[str] = ()) -> dict[str, Any]:
    """The settings that decide the answers, as plain mappings and values."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    source = settings.annotations
    # The same file elsewhere, or written down otherwise, is the same file.
    plain["annotations"] = {
        "sha256": source.identity.lasting_name,
        "version": source.version,
        "scale": source.scale,
    }
    plain["model"] = _comparable_model(settings.model, serving)
    return plain


def _comparable_model(model: Model, serving: Iterable[str]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(model)
    del plain["corrections"]  # They are applied when scoring.
    del plain["dialect"]["structural_tokens"]  # What is asked does not hold them.
    del plain["frame_from"]  # The frame itself is compared.
    for field in YOUNGER_FIELDS:
        if getattr(model.dialect, field) == getattr(_PLAIN, field):
            del plain["dialect"][field]
    for name in serving:
        _drop(plain["settings"], name)
    return plain


YOUNGER_FIELDS = (
    "unsupported",
    "offset",
    "also",
    "keys",
    "corners",
    "tags",
    "brackets",
    "images_from",
    "image_fields",
    "thinking_marks",
    "thought_opened_by_template",
    "prefix",
    "referring",
)
"""Fields of a dialect that older runs do not hold: as usual, they say what their absence says."""
_PLAIN = Dialect(name="", title="", source="", syntax=(), format="")


def _drop(settings: dict[str, Any], name: str) -> None:
    """Take out a setting, and the mapping that it was the last of."""
    outer, dot, inner = name.partition(".")
    if not dot:
        settings.pop(outer, None)
    elif isinstance(settings.get(outer), dict):
        _drop(settings[outer], inner)
        if not settings[outer]:
            del settings[outer]


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield f"{prefix}{name}", before, after
