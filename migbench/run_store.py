"""The run folder: what was asked of whom, and every answer from the moment it arrived.

``run.json`` is the manifest; ``answers.jsonl`` holds one line a turn, appended and flushed as it
lands. Killing the process loses only what was in flight; a line cut off by that is dropped when
the run is opened again. A folder holds the answers of one model under one set of settings. Lines
are linked and manifests sealed (`migbench.provenance.sealing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock, Timeout

from migbench.durable_file import DurableFile
from migbench.errors import DataError, UsageError
from migbench.files import open_appending
from migbench.hash_index import HashIndex
from migbench.input_files import MIB, open_regular
from migbench.json_files import INVALID, trouble
from migbench.manifests import MANIFEST as MANIFEST
from migbench.manifests import Environment as Environment
from migbench.manifests import Manifest as Manifest
from migbench.manifests import Status as Status
from migbench.manifests import following, others_than, write_manifest
from migbench.manifests import read_manifest as read_manifest
from migbench.manifests import write_json as write_json
from migbench.messages import Size
from migbench.models import Model, with_known_frame
from migbench.provenance.sealing import End
from migbench.served import Servers
from migbench.settings import Settings, differences

ANSWERS = "answers.jsonl"
LOCK = ".lock"
LONGEST_LINE = 64 * MIB
"""Bytes of an answer's line; longer ones are not read."""


Pixels = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
"""The side of an image."""


class AnswerLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of one question: what was said, or why nothing was.

    ``key`` identifies the request: model, texts, image bytes and generation settings. ``sizes`` are
    the question's images' (width, height) in pixels, kept where the dialect counts in pixels.
    """

    question: str
    turn: Annotated[int, msgspec.Meta(ge=0)] = 0
    key: str = ""
    prompt: str = ""
    text: str | None = None
    truncated: bool = False
    refused: bool = False
    """A content filter stood in the way; ``text`` is what came in the answer's place."""
    error: str | None = None
    sizes: list[tuple[Pixels, Pixels]] | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    reused: bool = False
    """Copied from an equal request's answer instead of asked again."""

    def size(self, image: int) -> Size | None:
        """The size of the question's image of this number, from 0, where the run kept sizes.

        Raises `DataError` where it kept fewer than there are images.
        """
        if self.sizes is None:
            return None
        if image >= len(self.sizes):
            raise DataError(
                f"the answer to {self.question} has the sizes of {len(self.sizes)} images, and it "
                f"has more: it was not stored so; `migbench verify` tells what was changed"
            )
        return Size(*self.sizes[image])


Lines = dict[tuple[str, int], AnswerLine]
"""Answers by question and turn."""


class Run:
    """A stored run, read-only: its manifest, and its answers, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the folder. Raises `DataError` where it is not a run, naming file and line."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        self._places = HashIndex()
        for place, line in _locate_lines(folder / ANSWERS):
            self._places.add(line.question, place)

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        return self.manifest.settings

    @cached_property
    def lines(self) -> Lines:
        """All answers by question and turn, read at once and then held in memory."""
        found: Lines = {}
        for line in read_lines(self.folder / ANSWERS):
            _keep(found, line)
        return found

    def lines_of(self, questions: Iterable[str]) -> Lines:
        """The answers to these questions, by question and turn."""
        wanted = set(questions)
        found: Lines = {}
        path = self.folder / ANSWERS
        places = self._places.find(wanted)
        if not places:
            return found
        decoder = msgspec.json.Decoder(AnswerLine)
        try:
            with open_regular(path) as file:
                for place in places:
                    file.seek(place)
                    line = decoder.decode(file.readline())
                    if line.question in wanted:
                        _keep(found, line)
        except INVALID as error:
            raise DataError(f"{path}: was changed while it was read ({error})") from error
        return found


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
        place = self._file.tell()
        stored, end = self._end.followed_by(msgspec.json.encode(line))
        self._file.write(stored)
        self._end = end
        self._places.add(line.question, place)
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
def open_run(folder: Path, manifest: Manifest) -> Iterator[RunStore]:
    """Create a run, or go on with it under the same settings.

    Settings that the manifest calls ``serving`` may differ. Raises `UsageError` where another
    process has it open, or the settings or the checkpoint's files differ, naming what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder):
        wall_seconds: float | None = 0.0
        if (folder / MANIFEST).exists():
            old = read_manifest(folder)
            manifest = _with_known_frame(manifest, old)
            _refuse_changes(folder, old, manifest)
            wall_seconds = old.wall_seconds
            manifest = following(manifest, old)
        elif any(path.name != LOCK for path in folder.iterdir()):
            raise UsageError(f"{folder}: is not empty and not a run; choose another --out")
        end = cut_torn_line(folder / ANSWERS)
        write_manifest(folder, manifest, end)
        store = RunStore(folder, end, wall_seconds)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder. Raises `UsageError` where one is in it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is working on this run") from None
    try:
        yield
    finally:
        lock.release()


def read_lines(path: Path) -> Iterator[AnswerLine]:
    """All that was stored, in that order, failures that an answer followed too."""
    for _, line in _locate_lines(path):
        yield line


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file of answers as they lie there; none where there is no file.

    Raises `DataError` where it is no regular file, or a line is longer than any answer.
    """
    if not path.exists():
        return
    with open_regular(path) as file:
        number = 1
        while line := file.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise DataError(f"{path}:{number}: has more than {LONGEST_LINE:,} bytes")
            yield line
            number += 1


def _locate_lines(path: Path) -> Iterator[tuple[int, AnswerLine]]:
    """All that was stored, and at which byte each line begins."""
    decoder = msgspec.json.Decoder(AnswerLine)
    place = 0
    for number, line in enumerate(raw_lines(path), start=1):
        if not line.endswith(b"\n"):
            return  # Cut off when its writer was killed.
        try:
            if line.strip():  # An editor may leave a blank line at the end.
                yield place, decoder.decode(line)
        except INVALID as error:
            raise DataError(
                f"{path}:{number}: is not a stored answer: {trouble(error, line)}; "
                f"set it aside with `migbench verify --repair {path.parent}`: "
                "the command that made the run then asks its question again"
            ) from error
        place += len(line)


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
