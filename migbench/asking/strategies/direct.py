"""Direct inference: the question, with all images, in a single turn."""

from __future__ import annotations

from migbench.asking.questions import Purpose, Question, Strategy, Turn
from migbench.asking.strategies.script import Script


def direct(question: Question, script: Script) -> Strategy:
    """Ask once, showing the whole image set."""
    images = tuple(range(len(question.images)))
    grounds = tuple(range(len(question.asked)))
    yield Turn(Purpose.DIRECT, question.text, images, grounds, wants_images=question.wants_images)
