"""A stored run's turns, with the answers that they had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from migbench.asking.questions import Strategy, Turn
from migbench.runs.answer_lines import AnswerLine

Lines = Mapping[tuple[str, int], AnswerLine]
"""Answers by question and turn."""


def replay(
    turns: Strategy, question: str, lines: Lines
) -> Iterator[tuple[Turn, AnswerLine | None]]:
    """A strategy's turns with their stored lines, up to the first turn without an answer."""
    turn = next(turns)
    number = 0
    while True:
        line = lines.get((question, number))
        yield turn, line
        if line is None or line.text is None or line.refused:
            return
        try:
            turn = turns.send(line.text)
        except StopIteration:
            return
        number += 1
