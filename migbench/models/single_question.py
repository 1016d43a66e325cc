"""One question about images of the user's own, outside of any run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from migbench.asking.mentions import image_mentions
from migbench.asking.questions import Purpose, Turn
from migbench.boxes import Box
from migbench.dialects import ParsedAnswer, PromptSet, ask, parse
from migbench.errors import UsageError
from migbench.messages import Answer, ImageFile, Request
from migbench.models.adapters import check_settings, start_adapter
from migbench.models.boundary import answer_from, closed
from migbench.models.event_loop import EventLoop
from migbench.models.resolving import Model, resizing_of_adapter, with_resizing


@dataclass(frozen=True)
class PlacedBox:
    """A box in 0-1 of an image, which is counted from 0."""

    image: int
    box: Box


@dataclass(frozen=True)
class SingleAnswer:
    """What was asked, what came back, and the boxes that were parsed from it."""

    request: Request
    answer: Answer
    parsed: ParsedAnswer
    boxes: tuple[PlacedBox, ...]


def ask_single(
    model: Model, question: str, images: Sequence[ImageFile], *, about: int | None = None
) -> SingleAnswer:
    """Ask a model one question, in its dialect and with its sentence about the format.

    A box lies in the image that the answer names, else in ``about`` (from 0), else in the first
    one that the question names, else in the first. Raises `UsageError` where there is no such
    image, `ModelError` where an image cannot be read, and `Failure` where there is no answer.
    """
    if about is not None and not 0 <= about < len(images):
        raise UsageError(f"--about {about + 1}: there are {len(images)} images")
    mentioned = [each.image for each in image_mentions(question) if each.image < len(images)]
    asked = about if about is not None else next(iter(mentioned), None)
    check_settings(model)
    turn = Turn(Purpose.DIRECT, question, tuple(range(len(images))), grounds=(0,))
    sizes = [image.size() for image in images]
    request = ask(
        model.dialect, turn, images, prompts=PromptSet.RELEASED, generation=model.generation
    )
    adapter = start_adapter(model)
    with EventLoop() as loop:
        try:
            model = with_resizing(model, resizing_of_adapter(adapter))
            answer = loop.run(answer_from(adapter, request)).answer
        finally:
            loop.run(closed(adapter))
    parsed = ParsedAnswer()
    if not answer.refused:
        parsed = parse(
            model.dialect,
            answer.text,
            truncated=answer.truncated,
            sizes=sizes,
            default_images=(asked or 0,),
            image_is_asked=asked is not None,
        )
    boxes = [
        PlacedBox(asked or 0 if found.label is None else found.label, found.box)
        for found in parsed.boxes
    ]
    return SingleAnswer(
        request, answer, parsed, tuple(each for each in boxes if each.image < len(images))
    )
