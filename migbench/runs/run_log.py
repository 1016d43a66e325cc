"""``run.log`` of a run folder: each failure with its time, its question and the whole traceback."""

from __future__ import annotations

from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from migbench.models.boundary import Failure
from migbench.runs.watchdog import seconds_text
from migbench.util.files import errors_named, open_appending
from migbench.util.plain_text import encodable
from migbench.util.redaction import redact

RUN_LOG = "run.log"


class RunLog:
    """Appends to a run's log, in UTF-8, for the length of a block; any thread may write.

    Every text passes the filter for secrets. The file is open all the time, so that a failure for
    want of open files can be logged as well; with nothing in it, it is taken away at the end.
    """

    def __init__(self, folder: Path) -> None:
        """Log into this run folder."""
        self._path = folder / RUN_LOG
        self._guard = Lock()
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        """Open the file. Raises `UsageError` where that cannot be."""
        self._file = open_appending(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; what comes later is not logged."""
        with self._guard:
            if self._file is not None:
                is_empty = self._file.tell() == 0
                self._file.close()
                if is_empty:
                    self._path.unlink(missing_ok=True)
            self._file = None

    def failure(self, question: str, turn: int, failure: Failure) -> None:
        """A question's turn got no answer."""
        self._write(f"{question} turn {turn}: {failure.message}\n{failure.details}")

    def remark(self, question: str, turn: int, remark: str) -> None:
        """A question's turn got an answer that is not stored just as it came."""
        self._write(f"{question} turn {turn}: {remark}")

    def slow(self, question: str, seconds: float) -> None:
        """A question's request is under way for a long time."""
        self._write(f"{question}: under way for {seconds_text(seconds)}")

    def down(self, reason: str | None, pause: float) -> None:
        """The model's server is down (and tried again after a pause), or back without a reason."""
        state = f"down, tried again in {seconds_text(pause)}: {reason}" if reason else "back"
        self._write(f"server: {state}")

    def trouble(self, when: str, failure: Failure) -> None:
        """The adapter failed beside the questions."""
        self._write(f"{when}: {failure.message}\n{failure.details}")

    def _write(self, text: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        entry = f"{moment} {encodable(redact(text)).rstrip()}\n"
        with self._guard, errors_named(self._path):
            if self._file is not None:
                self._file.write(entry.encode())
