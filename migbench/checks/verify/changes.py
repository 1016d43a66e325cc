"""What has changed around a run since it was made: tasks, dialect, profile, model, versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from migbench.dialects import Dialect, find_dialect, load_dialects
from migbench.models.resolving import Model, load_profiles
from migbench.runs.environment import current_environment
from migbench.runs.findings import Finding, changed, remark
from migbench.runs.fingerprints import (
    fingerprint_of_adapter,
    fingerprint_of_checkpoint,
    fingerprint_of_profile,
)
from migbench.runs.manifest import Environment, Manifest
from migbench.runs.ownership import is_own
from migbench.runs.settings import Settings
from migbench.tasks import task_hashes, tasks_folder

_DESCRIPTIONS = ("title", "source", "status", "model_types")
"""Fields of a dialect that change neither questions nor readings."""


def changes_around(manifest: Manifest) -> Iterator[Finding]:
    """Whatever is another now than the manifest says, apart from annotations and answers."""
    model, environment = manifest.settings.model, manifest.environment
    yield from _tasks(manifest.settings)
    yield from _dialect(model)
    yield from _profile(model, environment)
    if is_own(manifest):
        yield from model_changes(manifest, model, Path(environment.folder or "."))
    else:
        yield from _not_looked_at(model, environment)
    yield from _versions(manifest)


def _not_looked_at(model: Model, made: Environment) -> Iterator[Finding]:
    """What a received run names, and no command opens for it."""
    if made.adapter is not None:
        yield remark(
            "adapter",
            f"adapter {model.adapter}: is not looked at, since the run was not made by you here",
        )
    if made.checkpoint is not None:
        yield remark(
            "checkpoint",
            f"checkpoint {model.checkpoint}: is not looked at, since the run was not made by you "
            "here",
        )


def model_changes(manifest: Manifest, model: Model, here: Path = Path()) -> Iterator[Finding]:
    """Whether a model's checkpoint and adapter are those that answered.

    ``here`` is where a relative path of an adapter's file begins.
    """
    made = manifest.environment
    for about, name, then, now in (
        ("adapter", model.adapter, made.adapter, fingerprint_of_adapter(model, here)),
        ("checkpoint", model.checkpoint, made.checkpoint, fingerprint_of_checkpoint(model)),
    ):
        if then is None or then == now:
            continue
        if now is None:
            yield remark(about, f"{about} {name}: is not here, so whether it changed is not known")
        else:
            yield changed(about, f"{about} {name}: is another than answered ({now}, was {then})")
    if any(one.checkpoint not in (None, made.checkpoint) for one in manifest.others):
        yield changed(
            "checkpoint",
            f"checkpoint {model.checkpoint}: was replaced while the run was made; its answers are "
            "those of several models",
        )


def _tasks(settings: Settings) -> Iterator[Finding]:
    now = task_hashes()
    for key, then in settings.tasks.items():
        if key not in now:
            yield changed("tasks", f"task {key}: has no definition in {tasks_folder()} any more")
        elif now[key] != then:
            yield changed("tasks", f"task {key}: its definition in {tasks_folder()} was edited")


def _dialect(model: Model) -> Iterator[Finding]:
    made = model.dialect
    if made.name == "custom":
        return
    if made.name not in load_dialects():
        yield remark("dialect", f"dialect {made.name}: is not known here; the manifest's is used")
        return
    now = find_dialect(made.name).with_pixels(model.pixels.min, model.pixels.max)
    if model.frame_from is not None:
        now = msgspec.structs.replace(now, frame=made.frame)
    if fields := _differing(made, now):
        yield changed(
            "dialect",
            f"dialect {made.name}: was edited ({', '.join(fields)}); the run is read by its own, "
            "in its manifest",
        )


def _differing(made: Dialect, now: Dialect) -> list[str]:
    return [
        field
        for field in made.__struct_fields__
        if field not in _DESCRIPTIONS and getattr(made, field) != getattr(now, field)
    ]


def _profile(model: Model, made: Environment) -> Iterator[Finding]:
    if made.profile is None:
        return
    if model.name not in load_profiles():
        yield remark("profile", f"profile {model.name}: is not known here")
    elif fingerprint_of_profile(model) != made.profile:
        yield changed(
            "profile",
            f"profile {model.name}: was edited; the run's settings are those of its manifest",
        )


def _versions(manifest: Manifest) -> Iterator[Finding]:
    made, now = manifest.environment, current_environment()
    for name in sorted(made.packages.keys() | now.packages.keys()):
        then, here = made.packages.get(name), now.packages.get(name)
        if then is not None and then != here:
            yield remark("packages", f"{name}: was {then}, is {here or 'not installed'}")
    for name, then, here in (
        ("Python", made.python, now.python),
        ("migbench", _version(made), _version(now)),
    ):
        if then != here:
            yield remark("packages", f"{name}: was {then}, is {here}")
    if any(_deciding(one) != _deciding(made) for one in manifest.others):
        yield remark(
            "packages",
            "answers were made under different versions of packages, migbench or the adapter's "
            "file; run.json has them under 'others'",
        )


def _deciding(environment: Environment) -> tuple[object, ...]:
    return environment.packages, _version(environment), environment.adapter


def _version(environment: Environment) -> str:
    commit = f" at {environment.commit}" if environment.commit else ""
    return environment.migbench + commit
