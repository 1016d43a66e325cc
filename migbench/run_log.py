"""``run.log`` of a run folder: each failure with its time, its question and the whole traceback."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from migbench.boundary import Failure

RUN_LOG = "run.log"


class RunLog:
    """Appends to a run's log, in UTF-8; the file is there once there is something to say."""

    def __init__(self, folder: Path) -> None:
        """Log into this run folder."""
        self._path = folder / RUN_LOG

    def failure(self, question: str, turn: int, failure: Failure) -> None:
        """A question's turn got no answer."""
        self._write(f"{question} turn {turn}: {failure.message}\n{failure.details}")

    def slow(self, question: str, seconds: float) -> None:
        """A question's request is under way for a long time."""
        self._write(f"{question}: under way for {seconds:.0f} s")

    def closing(self, failure: Failure) -> None:
        """The adapter failed when it was closed, after all answers."""
        self._write(f"closing the adapter: {failure.message}\n{failure.details}")

    def _write(self, text: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{moment} {text.rstrip()}\n")
