"""A stored run's turns, with the answers that they had."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.asking.dialogue import Dialogue
from migbench.asking.questions import Strategy, Turn
from migbench.runs.answer_lines import AnswerLine, Lines


def replay(
    strategy: Strategy, question: str, lines: Lines
) -> Iterator[tuple[Turn, AnswerLine | None]]:
    """A strategy's turns with their stored lines, up to the first turn without an answer."""
    dialogue = Dialogue(strategy)
    for turn in dialogue:
        line = lines.get((question, dialogue.number))
        yield turn, line
        dialogue.tell(line.answer if line else None)
