"""Ending commands in the middle: killed at the n-th thing they do to files, or failed there.

A command runs in a child of this process, which has everything imported already, so that hundreds
of crashes take minutes. What it does to files is counted by the interpreter's audit: opening for
writing, renaming, removing, making folders; and by wrappers of what has no audit event: forcing to
the disk, and writing to the file of answers.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.command_line import Done, migbench

_CHANGING = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.listdir"}
)
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Crash:
    """At the ``step``-th thing, from 1, that is done below ``folder``: be killed, or fail.

    ``reason`` is the system's error; None kills the process, as a power cut or the kernel would.
    """

    folder: Path
    step: int
    reason: int | None = None


@dataclass(frozen=True)
class End:
    """How a command ended: its exit status, or None where it was killed; and what it printed."""

    status: int | None
    told: str
    steps: int


def crash(command: tuple[object, ...], at: Crash) -> End:
    """Run ``migbench`` in a child process that is ended there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            counting = _Counting(at)
            done = counting.run(lambda: migbench(*command))
            told = (done.out + done.err)[-20_000:]
            os.write(writing, f"{done.status} {counting.steps} {told}".encode())
        except BaseException:
            os.write(writing, f"99 0 {traceback.format_exc()}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        assert os.WTERMSIG(ended) == signal.SIGKILL
        return End(None, "", at.step)
    status, steps, rest = told.split(" ", 2)
    return End(int(status), rest, int(steps))


class _Counting:
    """Counts what is done to files, and ends the process at the step that was asked for."""

    def __init__(self, at: Crash) -> None:
        self._at = at
        self._folder = str(at.folder)
        self._going = False
        self.steps = 0

    def run(self, command: Callable[[], Done]) -> Done:
        sys.addaudithook(self._hook)
        _wrap_fsync(self)
        _wrap_writes(self)
        self._going = True
        try:
            return command()
        finally:
            self._going = False

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._going:
            return
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and bool(flags & _WRITING)
        else:
            path, changes = (arguments[0] if arguments else None), event in _CHANGING
        if changes and isinstance(path, str) and path.startswith(self._folder):
            self.step(path)

    def step(self, path: str) -> None:
        """One more thing is about to be done."""
        self.steps += 1
        if self.steps != self._at.step:
            return
        if self._at.reason is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise OSError(self._at.reason, os.strerror(self._at.reason), path)


def _wrap_fsync(counting: _Counting) -> None:
    fsync = os.fsync

    def wrapped(descriptor: int) -> None:
        counting.step(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    os.fsync = wrapped


def _wrap_writes(counting: _Counting) -> None:
    """Answers are stored by one write each, of which half may be done when the process ends."""
    from migbench.util import durable_file

    opened = durable_file.open_appending

    class Writing:
        def __init__(self, path: Path) -> None:
            self._file = opened(path)
            self._path = str(path)

        def write(self, content: bytes) -> int:
            half = len(content) // 2
            self._file.write(content[:half])
            counting.step(self._path)
            return half + (self._file.write(content[half:]) or 0)

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    durable_file.open_appending = Writing  # type: ignore[assignment]


def names(reason: int | None) -> str:
    """What a crash is called in a test's name."""
    return "kill" if reason is None else errno.errorcode[reason]
