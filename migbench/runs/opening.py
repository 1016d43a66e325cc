"""Opening a run folder to write in it: a new one, or one that goes on as it was, or asks more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from migbench.errors import UsageError
from migbench.models.resolving import with_known_frame
from migbench.runs.answers_file import ANSWERS, cut_torn_line, read_lines, relink
from migbench.runs.findings import FindingKind
from migbench.runs.growth import not_growth
from migbench.runs.hash_chain import ChainEnd
from migbench.runs.locking import LOCK, lock_run
from migbench.runs.manifest import (
    MANIFEST,
    Event,
    Manifest,
    event,
    read_manifest,
    resumed_manifest,
    write_manifest,
)
from migbench.runs.settings import differences
from migbench.runs.store import RunStore
from migbench.runs.stored import BLANK, stored_findings
from migbench.util.files import flush, publish

_SHOWN = 5
"""How many changes are named."""


@contextmanager
def open_run(
    folder: Path,
    manifest: Manifest,
    *,
    accept_changes: bool = False,
    without_lock: bool = False,
) -> Iterator[RunStore]:
    """Create a run, or go on with it under the same settings, or such that ask more.

    Settings that the manifest calls ``serving`` may differ, and a run without any answer takes all
    settings. Raises `UsageError` where another process has it open; where the settings or the
    checkpoint's files differ, naming what differs; and where the run was changed after it was
    stored, unless the user accepts that, which then stands in the manifest for good.
    """
    with lock_run(folder, without_lock=without_lock):
        if (folder / MANIFEST).exists():
            old = read_manifest(folder)
            manifest = with_known_frame_of(manifest, old)
            if _begins_anew(folder, old, manifest):
                (folder / ANSWERS).unlink(missing_ok=True)  # Failures of other questions.
                end = ChainEnd()
                wall_seconds: float | None = 0.0
            else:
                events = _accepted(folder, old, accept_changes)
                manifest = resumed_manifest(manifest, old, events)
                end = relink(folder / ANSWERS) if events else cut_torn_line(folder / ANSWERS)
                wall_seconds = old.wall_seconds
        elif _is_empty(folder):
            end, wall_seconds = ChainEnd(), 0.0
        else:
            raise UsageError(f"{folder}: is not empty and not a run; choose another --out")
        with _opened(folder, manifest, end, wall_seconds) as store:
            yield store


@contextmanager
def new_run(folder: Path, manifest: Manifest, *, without_lock: bool = False) -> Iterator[RunStore]:
    """Make a run whose answers are all there; it gets its name when it is complete.

    What a killed process has left of an earlier attempt is made anew. Raises `UsageError` where
    the folder is there and not empty, or another process makes it.
    """
    refuse_filled(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    with lock_run(partial, without_lock=without_lock):
        try:
            refuse_filled(folder)  # Another process may have been faster.
            _clear(partial)
            with _opened(partial, manifest, ChainEnd(), 0.0) as store:
                yield store
            if folder.is_dir():
                shutil.rmtree(folder)
            publish(partial, folder)
            store.folder = folder
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def refuse_filled(folder: Path) -> None:
    """Raise `UsageError` where a folder that is to be made is there, and not empty."""
    if folder.exists() and not (folder.is_dir() and _is_empty(folder)):
        what = "is a run already" if (folder / MANIFEST).exists() else "is not empty"
        raise UsageError(f"{folder}: {what}; choose another --out")


@contextmanager
def _opened(
    folder: Path, manifest: Manifest, end: ChainEnd, wall_seconds: float | None
) -> Iterator[RunStore]:
    write_manifest(folder, manifest, end)
    store = RunStore(folder, end, wall_seconds)
    try:
        flush(folder)  # The answers' file has its name now.
        yield store
    finally:
        store.close()


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process leaves before there is a run."""
    return all(path.name == LOCK or path.suffix == ".partial" for path in folder.iterdir())


def _clear(folder: Path) -> None:
    """Take out everything but the lock, which is held."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _accepted(folder: Path, manifest: Manifest, accept: bool) -> list[Event]:
    """What is to stand in the manifest of a run that was changed, and goes on all the same."""
    found = [
        each
        for each in stored_findings(folder, manifest)
        if each.kind is FindingKind.CHANGED and each.about != BLANK
    ]
    if not found:
        return []
    shown = [each.message for each in found[:_SHOWN]]
    if not accept:
        more = [f"and {len(found) - _SHOWN} changes more"] if len(found) > _SHOWN else []
        raise UsageError(
            f"{folder}: was changed after it was stored, and does not go on like that:\n"
            + "".join(f"  {message}\n" for message in [*shown, *more])
            + f"`migbench verify --repair {folder}` sets damaged lines aside and turns line ends "
            "back; or delete damaged lines: --accept-changes goes on with all as it is, and says "
            "so for good"
        )
    return [
        event(FindingKind.CHANGED, f"changed after it was stored, and accepted: {message}")
        for message in shown
    ] + [
        event(FindingKind.CHANGED, f"changed in {len(found) - _SHOWN} further places, and accepted")
    ] * (len(found) > _SHOWN)


def with_known_frame_of(manifest: Manifest, old: Manifest) -> Manifest:
    """The manifest of a run that goes on, with the frame that the processor was found to use."""
    model = with_known_frame(manifest.settings.model, old.settings.model)
    settings = msgspec.structs.replace(manifest.settings, model=model)
    return msgspec.structs.replace(manifest, settings=settings)


def _changes(old: Manifest, new: Manifest) -> list[str]:
    """What a run's answers do not go together with, a line each."""
    changes = [
        f"  {name}: was {before!r}, is now {after!r}"
        for name, before, after in not_growth(differences(old.settings, new.settings, new.serving))
    ]
    before, after = old.environment.checkpoint, new.environment.checkpoint
    if None not in (before, after) and before != after:
        changes.append(f"  the checkpoint's files: were {before!r}, are now {after!r}")
    return changes


def _holds_no_answer(folder: Path, manifest: Manifest) -> bool:
    """Whether no answer was stored in a run, and none taken out of it."""
    return all(line.answer is None for line in read_lines(folder / ANSWERS)) and not any(
        each.kind is FindingKind.CHANGED for each in stored_findings(folder, manifest)
    )


def refuse_other_settings(folder: Path, manifest: Manifest) -> None:
    """Raise `UsageError` where the folder holds answers that were given under other settings."""
    if (folder / MANIFEST).exists():
        old = read_manifest(folder)
        _begins_anew(folder, old, with_known_frame_of(manifest, old))


def _begins_anew(folder: Path, old: Manifest, new: Manifest) -> bool:
    """Whether a run without any answer takes other settings. Raises `UsageError` where it has some.

    False for a run that goes on under its settings, or under such that ask more.
    """
    changes = _changes(old, new)
    if not changes:
        return False
    if _holds_no_answer(folder, old):
        return True
    raise UsageError(
        f"{folder}: was made under other settings; choose another --out, or set back (what is "
        "asked, by --tasks, --limit, --instance and --shard, may grow, and not shrink)\n"
        + "\n".join(changes)
    )
