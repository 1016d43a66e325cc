"""Stored answers, said in few words."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from migbench.messages import Answer
from migbench.runs.answer_lines import AnswerLine

_OF_LINE = frozenset({"turn", "key", "prompt", "error", "sizes", "reused"})


def answer_line(question: str, text: str | None = None, **fields: Any) -> AnswerLine:
    """A line with this text, or without an answer; ``fields`` are the line's or the answer's."""
    of_line = {name: value for name, value in fields.items() if name in _OF_LINE}
    of_answer = {name: value for name, value in fields.items() if name not in _OF_LINE}
    answer = None if text is None else Answer(text, **of_answer)
    return AnswerLine(question=question, answer=answer, **of_line)


def with_answer(line: AnswerLine, **changes: Any) -> AnswerLine:
    """The line with these fields of its answer changed."""
    assert line.answer is not None
    return msgspec.structs.replace(line, answer=dataclasses.replace(line.answer, **changes))
