"""What was said, on disk the moment it arrives, so that the same command goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from migbench.models.boundary import Checked, Failure
from migbench.runs.answer_lines import AnswerLine, encode_line, with_answer
from migbench.runs.answers_file import cut_torn_line, read_lines
from migbench.runs.run_log import RunLog
from migbench.util.durable_file import DurableFile


class AnswerLog:
    """Answers by the key of their request; without a file, for as long as the process lives."""

    def __init__(
        self,
        file: DurableFile | None = None,
        known: dict[str, AnswerLine] | None = None,
        log: RunLog | None = None,
    ) -> None:
        """Use `open_log` for one on disk."""
        self._file = file
        self._log = log
        self.by_key = known or {}

    def failed(self, line: AnswerLine, failure: Failure) -> None:
        """Keep a line without an answer, and in the log the whole traceback."""
        if self._log is not None:
            self._log.failure(line.question, line.turn, failure)
        self.append(msgspec.structs.replace(line, error=failure.message))

    def answered(self, line: AnswerLine, checked: Checked) -> None:
        """Keep a line with its answer, and in the log what is not as it came."""
        if self._log is not None:
            for remark in checked.remarks:
                self._log.remark(line.question, line.turn, remark)
        self.append(with_answer(line, checked.answer))

    def append(self, line: AnswerLine) -> None:
        """Keep one line; it is with the operating system when this returns."""
        if self._file is not None:
            self._file.write(encode_line(line) + b"\n")
        if line.text is not None:
            self.by_key[line.key] = line


@contextmanager
def open_log(path: Path) -> Iterator[AnswerLog]:
    """The log in this file, with what it holds already. Raises `DataError` naming file and line."""
    known = {line.key: line for line in read_lines(path) if line.text is not None}
    cut_torn_line(path)
    with closing(DurableFile(path)) as file, RunLog(path.parent) as log:
        yield AnswerLog(file, known, log)
