"""A question's turns: each is told its answer before the next one is asked."""

from __future__ import annotations

from migbench.asking.dialogue import Dialogue
from migbench.asking.questions import Purpose, Strategy, Turn
from migbench.messages import Answer


def turn(text: str) -> Turn:
    return Turn(Purpose.DESCRIBE, text, (0,))


def echoing() -> Strategy:
    """Three turns, of which each quotes the answer before it."""
    said = yield turn("What?")
    said = yield turn(f"Where is {said}?")
    yield turn(f"Sure of {said}?")


def asked(*answers: Answer | None) -> list[tuple[int, str]]:
    """The number and text of every turn, where these are the answers."""
    dialogue = Dialogue(echoing())
    told = iter(answers)
    turns = []
    for each in dialogue:
        turns.append((dialogue.number, each.text))
        dialogue.tell(next(told))
    return turns


def test_every_turn_follows_from_the_answers_before_it() -> None:
    turns = asked(Answer("a dog"), Answer("left"), Answer("yes"))
    assert turns == [(0, "What?"), (1, "Where is a dog?"), (2, "Sure of left?")]


def test_a_missing_answer_ends_the_dialogue() -> None:
    assert asked(None) == [(0, "What?")]
    assert asked(Answer("a dog"), None) == [(0, "What?"), (1, "Where is a dog?")]


def test_what_a_content_filter_took_away_ends_the_dialogue_whatever_came_with_it() -> None:
    assert asked(Answer("It was filtered.", refused=True)) == [(0, "What?")]
