"""A file that grows line by line and is on the disk soon after: a power cut takes the last moment.

Every write is with the operating system when it returns, so that killing the process loses nothing.
A thread then has the disk take it, in groups: forcing every line by itself would make each answer
wait for the disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

from migbench.util.files import open_appending

EVERY = 0.5
"""Seconds between two groups."""


class DurableFile:
    """A file of ours that is written at its end; no other process may write to it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises `UsageError` where something else is there."""
        self._path = path
        self._file = open_appending(path)
        self._dirty, self._closing = Event(), Event()
        self._error: OSError | None = None
        self._thread: Thread | None = None

    def tell(self) -> int:
        """How long the file is."""
        return self._file.tell()

    def write(self, content: bytes) -> None:
        """Write all of it, or nothing and raise `OSError`, which names the file.

        It is raised as well where the disk did not take what was written before.
        """
        if self._error is not None:
            raise self._named(self._error)
        end = self._file.tell()
        try:
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            self._file.truncate(end)
            self._file.seek(end)
            raise self._named(error) from error
        self._dirty.set()
        if self._thread is None:
            self._thread = Thread(target=self._flush_groups, name="flush", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Have the disk take all that was written. Raises `OSError`, which names the file."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> None:
        """Close it, with all on the disk."""
        self._closing.set()
        self._dirty.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if not self._file.closed:
                self.flush()
        finally:
            self._file.close()

    def _flush_groups(self) -> None:
        while self._dirty.wait() and not self._closing.is_set():
            self._dirty.clear()
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self._error = error
                return
            self._closing.wait(EVERY)

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self._path))
