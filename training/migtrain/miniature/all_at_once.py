"""All of an image set's targets asked for at once, worded as the all-at-once evaluator words it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from migbench.asking.questions import REFERENCE_BOX, Purpose, Turn
from migbench.dialects import ask, find_dialect
from migbench.messages import ImageFile
from migbench.mini.conversations import (
    DIALECT,
    IMAGE,
    Conversation,
    GroundedBox,
    Round,
    write_box,
)
from migbench.tasks import find_task


def build_all_at_once(
    identity: str,
    kind: str,
    images: Sequence[str],
    asked: Sequence[tuple[str, GroundedBox]],
    box_step: int = 1,
) -> Conversation:
    """One round about all of an image set's targets, as the all-at-once evaluator asks.

    ``asked`` are the questions about the single targets; they say which image or region each is.
    """
    form = find_task(kind).all_at_once
    assert form is not None, f"{kind} is not asked at once"
    named = sorted(((form.number(text) or 0, target) for text, target in asked), key=itemgetter(0))
    reference = REFERENCE_BOX.search(asked[0][0])
    text = form.question.format(box=reference.group() if reference else "")
    noun = form.noun.capitalize()
    lines = [f"{noun}-{number}: {write_box(target.box, box_step)}" for number, target in named]
    files = [ImageFile(image) for image in images]
    places = tuple(range(len(images)))
    request = ask(find_dialect(DIALECT), Turn(Purpose.DIRECT, text, places, places), files)
    targets = tuple(target for _, target in named)
    only = Round(request.text(IMAGE), "\n".join(lines), targets)
    return Conversation(identity, kind, tuple(images), (only,))
