"""Direct inference: the question, with all images, in a single turn."""

from __future__ import annotations

from migbench.questions import Purpose, Question, Strategy, Turn


def direct(question: Question) -> Strategy:
    """Ask once, showing the whole image set."""
    yield Turn(Purpose.DIRECT, question.text, tuple(range(len(question.images))))
