"""The run folder: what was asked of whom, and every answer from the moment it arrived.

``run.json`` is the manifest; ``answers.jsonl`` holds one line a turn, appended and flushed as it
lands. Killing the process loses only what was in flight; a line cut off by that is dropped when
the run is opened again (`migbench.runs.opening`). A folder holds the answers of one model under one
set of settings.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from migbench.errors import UsageError
from migbench.models.resolving import Model
from migbench.runs.answer_lines import AnswerLine, encode_line
from migbench.runs.answers_file import ANSWERS, read_lines
from migbench.runs.hash_chain import ChainEnd
from migbench.runs.manifest import (
    Manifest,
    Status,
    other_environments,
    read_manifest,
    write_manifest,
)
from migbench.runs.served import Servers
from migbench.runs.settings import Settings
from migbench.util.durable_file import DurableFile


class Run:
    """A stored run, read-only: its manifest, and its answers by question and turn."""

    def __init__(self, folder: Path) -> None:
        """Read the folder. Raises `DataError` where it is not a run, naming file and line."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.lines: dict[tuple[str, int], AnswerLine] = {}
        for line in read_lines(folder / ANSWERS):
            _keep(self.lines, line)

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        return self.manifest.settings


def _keep(lines: dict[tuple[str, int], AnswerLine], line: AnswerLine) -> None:
    place = (line.question, line.turn)
    known = lines.get(place)
    # A late failure (a second attempt, an old process) never hides an answer.
    if known is None or known.text is None or line.text is not None:
        lines[place] = line


class RunStore(Run):
    """A run that is being written; one process at a time holds it."""

    def __init__(self, folder: Path, end: ChainEnd, wall_seconds: float | None = 0.0) -> None:
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

    def record_checkpoint(self, fingerprint: str | None) -> None:
        """Record what identifies the checkpoint, which may be known only when it is loaded."""
        environment = self.manifest.environment
        if fingerprint != environment.checkpoint:
            environment = msgspec.structs.replace(environment, checkpoint=fingerprint)
            self._write(msgspec.structs.replace(self.manifest, environment=environment))

    def record_servers(self, servers: Servers) -> None:
        """Record what the servers say of themselves."""
        environment = self.manifest.environment
        if servers != environment.servers:
            environment = msgspec.structs.replace(environment, servers=servers)
            # Only now is it known whether this is where the run was before.
            others = other_environments(environment, self.manifest.others)
            self._write(
                msgspec.structs.replace(self.manifest, environment=environment, others=others)
            )

    def earlier_servers(self) -> Servers:
        """What they said when the run was last worked on; nothing in a run that is new."""
        others = [other.servers for other in self.manifest.others if other.servers]
        return others[-1] if others else {}

    def record_model(self, model: Model) -> None:
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
