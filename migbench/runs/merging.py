"""Joining shards: parts of a run that were asked apart become the run as if asked in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from migbench.errors import DataError, UsageError
from migbench.runs.answers_file import ANSWERS, read_lines
from migbench.runs.findings import FindingKind
from migbench.runs.locking import lock_run
from migbench.runs.manifest import Event, Manifest, Status, event, other_environments, read_manifest
from migbench.runs.opening import new_run, refuse_filled
from migbench.runs.settings import Settings, differences
from migbench.runs.sharding import Shard
from migbench.runs.store import Run
from migbench.runs.stored import stored_findings
from migbench.util.plain_text import encodable


def merge_runs(folders: Sequence[Path], out: Path, *, without_lock: bool = False) -> Run:
    """Join the runs of all shards in the new folder ``out``.

    Every stored line is copied, failures too. The result is complete if all shards are; else a run
    under its settings, those of the shards without the shard, asks what is left. Environment and
    image folder are the first shard's. Raises `UsageError` where the folders are not all the shards
    of one run, each once, or are being written, or ``out`` is not empty, and `DataError` where one
    of them was changed since it was stored.
    """
    refuse_filled(out)
    settings = _joint_settings([(folder, read_manifest(folder)) for folder in folders])
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(lock_run(folder, without_lock=without_lock))
        shards = [read_manifest(folder) for folder in folders]
        events = [
            event
            for folder, shard in zip(folders, shards, strict=True)
            for event in (*shard.history, *_unsealed(folder, shard))
        ]
        _refuse_several_checkpoints(folders, shards)
        manifest = msgspec.structs.replace(
            shards[0],
            created=min(shard.created for shard in shards),
            status="running",
            settings=settings,
            questions=sum(shard.questions for shard in shards),
            origin=encodable(f"shards {', '.join(map(str, folders))}"),
            others=other_environments(
                shards[0].environment,
                [each for shard in shards for each in (*shard.others, shard.environment)],
            ),
            wall_seconds=None,
            history=events,
        )
        times = [shard.wall_seconds for shard in shards if shard.wall_seconds is not None]
        complete = all(shard.status == "complete" for shard in shards)
        status: Status = "complete" if complete else "incomplete"
        with new_run(out, manifest, without_lock=without_lock) as merged:
            for folder in folders:
                for line in read_lines(folder / ANSWERS):
                    merged.append(line)
            merged.finish(status, sum(times) if len(times) == len(shards) else None)
    return merged


def _joint_settings(shards: Sequence[tuple[Path, Manifest]]) -> Settings:
    """The settings of the whole run. Raises `UsageError` where these are not all its shards.

    Which settings are serving settings stands in the shards' manifests: no adapter is loaded.
    """
    first_folder, first = shards[0][0], shards[0][1].settings
    serving = frozenset(name for _, manifest in shards for name in manifest.serving)
    found: dict[Shard, Path] = {}
    for folder, manifest in shards:
        settings = manifest.settings
        shard = settings.shard
        if shard is None:
            raise UsageError(f"{folder}: is not a shard; it was run without --shard")
        _refuse_mixture(first_folder, first, folder, settings, serving)
        if shard in found:
            raise UsageError(f"{folder}: is shard {shard}, and so is {found[shard]}")
        found[shard] = folder
    of = next(iter(found)).of
    every = [Shard(number=number, of=of) for number in range(1, of + 1)]
    if missing := [str(shard) for shard in every if shard not in found]:
        raise UsageError(f"not all shards of the run are here: {', '.join(missing)} missing")
    return msgspec.structs.replace(first, shard=None)


def _refuse_several_checkpoints(folders: Sequence[Path], shards: Sequence[Manifest]) -> None:
    """Settings name a checkpoint; whether it was the same one is in the shards' environments."""
    found = {
        shard.environment.checkpoint: folder
        for folder, shard in zip(folders, shards, strict=True)
        if shard.environment.checkpoint is not None
    }
    if len(found) > 1:
        several = ", ".join(f"{folder} ({checkpoint})" for checkpoint, folder in found.items())
        raise UsageError(f"the shards were answered by different checkpoints: {several}")


def _unsealed(folder: Path, manifest: Manifest) -> Iterator[Event]:
    """What nothing vouches for. Merging links anew, so it would not be seen any more.

    Raises `DataError` where a shard was changed.
    """
    for finding in stored_findings(folder, manifest):
        if finding.kind is FindingKind.CHANGED:
            raise DataError(f"{finding.message}; `migbench verify {folder}` lists all changes")
        if finding.kind is FindingKind.UNSEALED:
            yield event(FindingKind.UNSEALED, f"merged: {finding.message}")


def _refuse_mixture(
    first_folder: Path, first: Settings, folder: Path, settings: Settings, serving: frozenset[str]
) -> None:
    mixture = [
        f"  {name}: {there!r} there, {here!r} here"
        for name, there, here in differences(first, settings, serving)
        if name != "shard.number"
    ]
    if mixture:
        raise UsageError(
            f"{folder}: was made under other settings than {first_folder}; "
            "shards of different runs must not be mixed\n" + "\n".join(mixture)
        )
