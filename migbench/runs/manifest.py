"""The manifest of a run, ``run.json``: what was asked of whom, where, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from migbench.errors import DataError, UsageError
from migbench.runs.findings import FindingKind
from migbench.runs.hash_chain import ChainEnd, Seal, manifest_digest
from migbench.runs.manifest_check import problems_of, schema_of
from migbench.runs.settings import Settings
from migbench.util.files import replaced
from migbench.util.input_files import MIB, read_bytes
from migbench.util.json_files import INVALID, line_of, trouble
from migbench.util.plain_text import encodable

MANIFEST = "run.json"
SCHEMA = 1
MOST_BYTES = 64 * MIB
"""Larger manifests are not read."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a run was made."""

    migbench: str
    commit: str | None
    packages: dict[str, str]
    python: str
    machine: str
    command: list[str]
    folder: str | None = None
    """The working directory, where relative paths of the command begin."""
    accelerators: list[str] = []
    """What the driver calls the GPUs, where it says so in a file."""
    profile: str | None = None
    """SHA-256 of the model's profile, where it has one."""
    adapter: str | None = None
    """SHA-256 of the Python file that holds the adapter, where the user named one."""
    checkpoint: str | None = None
    """What identifies the checkpoint (`migbench.runs.fingerprints`), where it was found."""
    servers: dict[str, dict[str, str]] = {}
    """What each server that was asked says of itself (`migbench.runs.served`), by its address."""


Status = Literal["running", "stopped", "incomplete", "complete"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a stored run and is to be known for good: under every table, by verify."""

    at: str
    kind: FindingKind = msgspec.field(name="weight")
    message: str


def event(kind: FindingKind, message: str) -> Event:
    """Something that happens now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Event(at=now, kind=kind, message=encodable(message))


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run.json`` says."""

    schema: int = SCHEMA
    created: str
    status: Status
    settings: Settings
    environment: Environment
    name: str | None = None
    """What the user calls the run in tables, in place of model and form."""
    others: list[Environment] = []
    """Further environments of stored answers: of earlier sittings, of a merged run's shards."""
    serving: list[str] = []
    """The adapter's settings that say how the model was served, not what it says."""
    images: str | None = None
    """The image folder."""
    mark: str | None = None
    """What tells the user's own runs (`migbench.runs.ownership`)."""
    questions: int = 0
    """How many questions the run asks."""
    answered: int = 0
    failed: int = 0
    """How many turns have an answer, and how many a failure instead, when the run last ended."""
    origin: str = "run"
    """``run``, or where imported or merged answers came from."""
    wall_seconds: float | None = None
    """How long the asking took, with all resumptions and without loading the model.

    The sum over the shards of a merged run. None where that is not known: for imported answers,
    while the run is under way, and when it was killed at some point.
    """
    history: list[Event] = []
    """Accepted changes and repairs."""
    seal: Seal | None = None
    """None in runs of versions that made none."""


def write_json(path: Path, content: object) -> None:
    """Write a JSON file in one step: readers see the old one or the new one, never half."""
    with replaced(path) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """What a run says of itself, checked.

    Raises `UsageError` where the folder is no run, and `DataError` where its manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise UsageError(f"{folder}: is not a run (it has no {MANIFEST})")
    content = read_bytes(path, MOST_BYTES)
    try:
        if (schema := schema_of(content)) != SCHEMA:
            raise DataError(
                f"{path}: has schema {schema}, and this version of migbench reads {SCHEMA}; "
                "use the version that made the run"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except INVALID as error:
        line = line_of(error, content)
        raise DataError(f"{path}{line}: not a run's manifest: {trouble(error, content)}") from error
    if (problem := next(problems_of(manifest), None)) is not None:
        raise DataError(f"{path}: not a run's manifest: {problem}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest, end: ChainEnd) -> Manifest:
    """Write the manifest, with a seal on it and on the lines up to here."""
    digest = manifest_digest(msgspec.json.encode(manifest))
    seal = Seal(lines=end.lines, link=end.link, manifest=digest)
    sealed = msgspec.structs.replace(manifest, seal=seal)
    write_json(folder / MANIFEST, sealed)
    return sealed


def resumed_manifest(manifest: Manifest, old: Manifest, events: Iterable[Event] = ()) -> Manifest:
    """The manifest of a run that goes on: created when it was, with all its environments."""
    others = other_environments(manifest.environment, [*old.others, old.environment])
    history = [*old.history, *events]
    return msgspec.structs.replace(
        manifest,
        created=old.created,
        name=manifest.name or old.name,
        others=others,
        history=history,
    )


def other_environments(
    environment: Environment, all_of_them: Iterable[Environment]
) -> list[Environment]:
    """The environments that differ from this one and from each other, in their order."""
    found: list[Environment] = []
    for each in all_of_them:
        if each != environment and each not in found:
            found.append(each)
    return found
