"""The file ``answers.jsonl``: its lines, read within bounds, cut where torn, and linked anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from migbench.errors import DataError
from migbench.runs.answer_lines import AnswerLine, decode_line
from migbench.runs.hash_chain import ChainEnd
from migbench.util.files import open_appending, replaced
from migbench.util.input_files import MIB, open_regular
from migbench.util.json_files import INVALID, trouble

ANSWERS = "answers.jsonl"
LONGEST_LINE = 64 * MIB
"""Bytes of an answer's line; longer ones are not read."""


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


def read_lines(path: Path) -> Iterator[AnswerLine]:
    """All that was stored, in that order, failures that an answer followed too."""
    for number, line in enumerate(raw_lines(path), start=1):
        if not line.endswith(b"\n"):
            return  # Cut off when its writer was killed.
        try:
            if line.strip():  # An editor may leave a blank line at the end.
                yield decode_line(line)
        except INVALID as error:
            raise DataError(
                f"{path}:{number}: is not a stored answer: {trouble(error, line)}; "
                f"delete it, by `migbench verify --repair {path.parent}`: "
                "the command that made the run then asks its question again"
            ) from error


def cut_torn_line(path: Path) -> ChainEnd:
    """Take away what a killed writer left behind the last whole line; where the file ends then."""
    end = ChainEnd()
    kept = 0
    for line in raw_lines(path):
        if not line.endswith(b"\n"):
            with open_appending(path) as file:
                file.truncate(kept)
            break
        kept += len(line)
        end = end.after(line)
    return end


def relink(path: Path) -> ChainEnd:
    """Link all lines anew, as they are now; where the file ends then."""
    end = ChainEnd()
    with replaced(path) as partial, partial.open("wb") as file:
        for line in raw_lines(path):
            if line.endswith(b"\n") and line.strip():
                content, end = end.followed_by_stored(line)
                file.write(content)
    return end
