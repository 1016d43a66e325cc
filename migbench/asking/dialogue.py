"""A question's turns with a model, one after another: the one driver of a strategy's generator."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.asking.questions import Strategy, Turn
from migbench.messages import Answer


class Dialogue:
    """The turns of one question; each follows from the answers before it.

    Whoever walks through the turns tells every turn's answer before the next one::

        for turn in dialogue:
            dialogue.tell(await answer_to(turn))
    """

    def __init__(self, strategy: Strategy) -> None:
        """Begin with the strategy's first turn."""
        self._strategy = strategy
        self._turn: Turn | None = next(strategy)
        self.number = 0
        """The number of the turn that is under way, from 0."""

    def __iter__(self) -> Iterator[Turn]:
        """The turns, up to the last, or the first without an answer to go on from."""
        while self._turn is not None:
            yield self._turn

    def tell(self, answer: Answer | None) -> None:
        """Go on from this answer to the turn under way.

        A missing answer ends the dialogue, and so does one that a content filter took away.
        """
        self._turn = None
        if answer is None or answer.refused:
            return
        try:
            self._turn = self._strategy.send(answer.text)
            self.number += 1
        except StopIteration:
            pass
