"""The run folder: what was asked of whom, and every answer from the moment it arrived.

``run.json`` is the manifest; ``answers.jsonl`` holds one line a turn, appended and flushed as it
lands. Killing the process loses only what was in flight; a line cut off by that is dropped when
the run is opened again. A folder holds the answers of one model under one set of settings. Lines
are linked and manifests sealed (`migbench.runs.hash_chain`).
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from migbench.errors import UsageError
from migbench.models.resolving import Model, with_known_frame
from migbench.runs.answer_lines import ANSWERS as ANSWERS
from migbench.runs.answer_lines import AnswerLine as AnswerLine
from migbench.runs.answer_lines import encode_line, raw_lines
from migbench.runs.answer_lines import read_lines as read_lines
from migbench.runs.findings import Weight
from migbench.runs.hash_chain import End
from migbench.runs.manifest import MANIFEST as MANIFEST
from migbench.runs.manifest import Environment as Environment
from migbench.runs.manifest import Event as Event
from migbench.runs.manifest import Manifest as Manifest
from migbench.runs.manifest import Status as Status
from migbench.runs.manifest import event, following, others_than, write_manifest
from migbench.runs.manifest import read_manifest as read_manifest
from migbench.runs.manifest import write_json as write_json
from migbench.runs.served import Servers
from migbench.runs.settings import Settings, differences
from migbench.runs.stored import BLANK, stored_findings
from migbench.util.durable_file import DurableFile
from migbench.util.files import errors_named, flush, open_appending, publish, replaced

LOCK = ".lock"
_SHOWN = 5
"""How many changes are named."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What the system says where a file system has no locks."""


Lines = dict[tuple[str, int], AnswerLine]
"""Answers by question and turn."""


class Run:
    """A stored run, read-only: its manifest, and its answers by question and turn."""

    def __init__(self, folder: Path) -> None:
        """Read the folder. Raises `DataError` where it is not a run, naming file and line."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.lines: Lines = {}
        for line in read_lines(folder / ANSWERS):
            _keep(self.lines, line)

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        return self.manifest.settings


def _keep(lines: Lines, line: AnswerLine) -> None:
    place = (line.question, line.turn)
    known = lines.get(place)
    # A late failure (a second attempt, an old process) never hides an answer.
    if known is None or known.text is None or line.text is not None:
        lines[place] = line


class RunStore(Run):
    """A run that is being written; one process at a time holds it."""

    def __init__(self, folder: Path, end: End, wall_seconds: float | None = 0.0) -> None:
        """Use `open_run`. ``wall_seconds`` is the time that the run has taken up to now."""
        super().__init__(folder)
        self._end = end
        self._wall_seconds = wall_seconds
        self._file = DurableFile(folder / ANSWERS)
        self.by_key = {line.key: line for line in self.lines.values() if line.text is not None}

    def append(self, line: AnswerLine) -> None:
        """Store one line; it is with the operating system when this returns.

        Raises `OSError` where it cannot be stored whole; nothing of it is then left behind.
        """
        stored, end = self._end.followed_by(encode_line(line))
        self._file.write(stored)
        self._end = end
        _keep(self.lines, line)
        if line.text is not None:
            self.by_key.setdefault(line.key, line)

    def finish(self, status: Status, seconds: float | None = None) -> None:
        """Record how the run ended, and how long it took since it was opened, where known."""
        if seconds is not None and self._wall_seconds is not None:
            self._wall_seconds += seconds
        else:
            self._wall_seconds = None
        answered = sum(line.text is not None for line in self.lines.values())
        self._file.flush()  # No seal on lines that a power cut may take.
        self._write(
            msgspec.structs.replace(
                self.manifest,
                status=status,
                answered=answered,
                failed=len(self.lines) - answered,
                wall_seconds=self._wall_seconds,
            )
        )

    def know_checkpoint(self, fingerprint: str | None) -> None:
        """Record what identifies the checkpoint, which may be known only when it is loaded."""
        environment = self.manifest.environment
        if fingerprint != environment.checkpoint:
            environment = msgspec.structs.replace(environment, checkpoint=fingerprint)
            self._write(msgspec.structs.replace(self.manifest, environment=environment))

    def know_servers(self, servers: Servers) -> None:
        """Record what the servers say of themselves."""
        environment = self.manifest.environment
        if servers != environment.servers:
            environment = msgspec.structs.replace(environment, servers=servers)
            # Only now is it known whether this is where the run was before.
            others = others_than(environment, self.manifest.others)
            self._write(
                msgspec.structs.replace(self.manifest, environment=environment, others=others)
            )

    def earlier_servers(self) -> Servers:
        """What they said when the run was last worked on; nothing in a run that is new."""
        others = [other.servers for other in self.manifest.others if other.servers]
        return others[-1] if others else {}

    def know_model(self, model: Model) -> None:
        """Record the model as it is run, which may be known only when it is loaded.

        Raises `UsageError` where the run's answers were given in another frame of pixels.
        """
        known = self.settings.model
        if model == known:
            return
        if known.frame_from is not None and self.lines:
            raise UsageError(
                f"{self.folder}: was made with a processor that resizes images to "
                f"{known.dialect.frame}, and it is now to {model.dialect.frame}; choose another "
                "--out, or take the checkpoint and the settings of then"
            )
        settings = msgspec.structs.replace(self.settings, model=model)
        self._write(msgspec.structs.replace(self.manifest, settings=settings))

    def _write(self, manifest: Manifest) -> None:
        self.manifest = write_manifest(self.folder, manifest, self._end)

    def close(self) -> None:
        """Close the file, and force it to disk."""
        self._file.close()


@contextmanager
def open_run(
    folder: Path,
    manifest: Manifest,
    *,
    accept_changes: bool = False,
    without_lock: bool = False,
) -> Iterator[RunStore]:
    """Create a run, or go on with it under the same settings.

    Settings that the manifest calls ``serving`` may differ. Raises `UsageError` where another
    process has it open; where the settings or the checkpoint's files differ, naming what differs;
    and where the run was changed after it was stored, unless the user accepts that, which then
    stands in the manifest for good.
    """
    with hold(folder, without_lock=without_lock):
        if (folder / MANIFEST).exists():
            old = read_manifest(folder)
            manifest = _with_known_frame(manifest, old)
            _refuse_changes(folder, old, manifest)
            events = _accepted(folder, old, accept_changes)
            manifest = following(manifest, old, events)
            end = relink(folder / ANSWERS) if events else cut_torn_line(folder / ANSWERS)
            wall_seconds = old.wall_seconds
        elif _is_empty(folder):
            end, wall_seconds = End(), 0.0
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
    with hold(partial, without_lock=without_lock):
        try:
            refuse_filled(folder)  # Another process may have been faster.
            _clear(partial)
            with _opened(partial, manifest, End(), 0.0) as store:
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
    folder: Path, manifest: Manifest, end: End, wall_seconds: float | None
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
        if each.weight is Weight.CHANGED and each.about != BLANK
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
        event(Weight.CHANGED, f"changed after it was stored, and accepted: {message}")
        for message in shown
    ] + [
        event(Weight.CHANGED, f"changed in {len(found) - _SHOWN} further places, and accepted")
    ] * (len(found) > _SHOWN)


@contextmanager
def hold(folder: Path, *, without_lock: bool = False) -> Iterator[None]:
    """Keep other processes out of a run folder, which is made if need be.

    Raises `UsageError` where one is in it, and where the file system has no locks, unless the user
    vouches for being alone.
    """
    with errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    if path.is_symlink():
        raise UsageError(f"{path}: is a link, and no lock of migbench's; remove it")
    # A lock that is the mere existence of a file outlives its process, or is taken for dead.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is working on this run") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UsageError(f"{path}: cannot be locked ({error.strerror or error})") from error
        if not without_lock:
            raise UsageError(
                f"{folder}: its file system has no locks, so that two processes could ask "
                "everything twice; where no other works on this run, say so with --without-lock"
            ) from error
    try:
        yield
    finally:
        lock.release()


def cut_torn_line(path: Path) -> End:
    """Take away what a killed writer left behind the last whole line; where the file ends then."""
    end = End()
    kept = 0
    for line in raw_lines(path):
        if not line.endswith(b"\n"):
            with open_appending(path) as file:
                file.truncate(kept)
            break
        kept += len(line)
        end = end.after(line)
    return end


def _with_known_frame(manifest: Manifest, old: Manifest) -> Manifest:
    """The manifest of a run that goes on, with the frame that the processor was found to use."""
    model = with_known_frame(manifest.settings.model, old.settings.model)
    settings = msgspec.structs.replace(manifest.settings, model=model)
    return msgspec.structs.replace(manifest, settings=settings)


def relink(path: Path) -> End:
    """Link all lines anew, as they are now; where the file ends then."""
    end = End()
    with replaced(path) as partial, partial.open("wb") as file:
        for line in raw_lines(path):
            if line.endswith(b"\n") and line.strip():
                content, end = end.followed_by_stored(line)
                file.write(content)
    return end


def _refuse_changes(folder: Path, old: Manifest, new: Manifest) -> None:
    changes = [
        f"  {name}: was {before!r}, is now {after!r}"
        for name, before, after in differences(old.settings, new.settings, new.serving)
    ]
    before, after = old.environment.checkpoint, new.environment.checkpoint
    if None not in (before, after) and before != after:
        changes.append(f"  the checkpoint's files: were {before!r}, are now {after!r}")
    if changes:
        raise UsageError(
            f"{folder}: was made under other settings; choose another --out, or set back\n"
            + "\n".join(changes)
        )
