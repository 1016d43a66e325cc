"""What vLLM's processes write, kept in a file so that the reason for a failure can be told.

The engine runs in processes of its own. When one of them fails, this process learns no more than
that it did; the reason stands in what the other wrote, among tracebacks.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migbench.messages import root_cause

__all__ = ["EngineLog", "bottom", "shortened"]

_RAISED = re.compile(
    r"(?:\([^)]* pid=\d+\) ERROR [^]]*\] )?"  # vLLM's mark on each line of a logged traceback
    r"(?:\w+\.)*\w*(?:Error|Exception): (?P<message>.+)"
)
"""The last line of a traceback."""

_POINTS_ELSEWHERE = ("stack trace", "root cause")
"""In the message of an exception that passes on another process's failure."""

_MESSAGE_LENGTH = 500
"""Characters of vLLM's words that are kept."""


class EngineLog:
    """What the processes of one engine write, from its start to its end.

    Nothing of it is shown. With the environment variable ``VLLM_LOGGING_LEVEL`` set, vLLM logs to
    standard error instead, and nothing is kept.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="migbench-vllm-"))
        self._file = self._folder / "engine.log"
        self._is_shown = bool(os.environ.get("VLLM_LOGGING_LEVEL"))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While vLLM is imported and its processes are started: have them write here.

        They take over standard output and error as these are now, for as long as they live.
        """
        # Standard output is for results, and vLLM reports its use to its makers unless told not to.
        settings = {"VLLM_LOGGING_STREAM": "ext://sys.stderr", "VLLM_NO_USAGE_STATS": "1"}
        with _environment(settings):
            if self._is_shown:
                yield
                return
            with self._file.open("ab") as file, _written_to(file.fileno()):
                yield
        self.mute()

    def reason(self) -> str | None:
        """The message of the first exception that does not point to another; None if unknown."""
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        raised = (match["message"] for line in text.splitlines() if (match := _RAISED.match(line)))
        told = (message for message in raised if not _points_elsewhere(message))
        return next(told, None)

    def mute(self) -> None:
        """Have this process's share of vLLM log nothing: its failures are told as errors."""
        logging.getLogger("vllm").setLevel(logging.CRITICAL + 1)

    def remove(self) -> None:
        """Delete the file."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _written_to(descriptor: int) -> Iterator[None]:
    """Standard output and error go to an open file."""
    standard = (1, 2)
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(number) for number in standard]
    try:
        for number in standard:
            os.dup2(descriptor, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip(standard, before, strict=True):
            os.dup2(original, number)
            os.close(original)


def bottom(error: BaseException) -> str:
    """The message of the exception that the others were raised for."""
    error = root_cause(error)
    return str(error).strip() or type(error).__name__


def shortened(message: str) -> str:
    """The message in one line of bounded length."""
    line = " ".join(message.split())
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 1] + "…"


def _points_elsewhere(message: str) -> bool:
    return message == "cancelled" or any(words in message for words in _POINTS_ELSEWHERE)
