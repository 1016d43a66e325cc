"""What decides a run's answers, and what tells two runs apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from migbench.models import Model
from migbench.sharding import Shard


class AnnotationSource(msgspec.Struct, frozen=True, kw_only=True):
    """Which annotation file a run is on."""

    path: str
    sha256: str
    version: str
    scale: float

    @property
    def label(self) -> str:
        """Its name under a table."""
        if self.version != "custom":
            return self.version
        return f"{Path(self.path).name} ({self.sha256[:8]})"


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


def differences(
    old: Settings, new: Settings, serving: Iterable[str] = ()
) -> list[tuple[str, Any, Any]]:
    """Names of the settings that differ, each with its old and its new value.

    ``serving`` names the adapter's settings that may differ: those that say how a model is served,
    which does not change what it says. A dot leads into a setting that is a mapping.
    """
    return list(_differences(comparable(old, serving), comparable(new, serving)))


def model_differences(
    old: Model, new: Model, serving: Iterable[str] = ()
) -> list[tuple[str, Any, Any]]:
    """The same of two models alone."""
    return list(_differences(_comparable_model(old, serving), _comparable_model(new, serving)))


def comparable(settings: Settings, serving: Iterable[str] = ()) -> dict[str, Any]:
    """The settings that decide the answers, as plain mappings and values."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    del plain["annotations"]["path"]  # The same file elsewhere is the same file.
    plain["model"] = _comparable_model(settings.model, serving)
    return plain


def _comparable_model(model: Model, serving: Iterable[str]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(model)
    del plain["corrections"]  # They are applied when scoring.
    for name in serving:
        _drop(plain["settings"], name)
    return plain


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
