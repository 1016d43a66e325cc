"""The standard protocol: the dialect's declared convention, and every outcome kept apart.

Of a question's one box, the one labelled with the asked image counts, else the first; of several,
see `migbench.scoring.matching`. Defective truth is repaired: corners sorted, clipped to the image.
"""

from __future__ import annotations

from migbench.asking.questions import Asked
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import FoundBox, ParsedAnswer
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.matching import match_boxes
from migbench.scoring.outcomes import Flag, Outcome, Prediction
from migbench.tasks import Noun


def truth(instance: Instance) -> Box:
    """The target's box, repaired where it is defective."""
    return instance.box.repaired()


def predict(answer: AnswerInContext) -> list[Prediction]:
    """For every box that the answer is to give: the one it gives, or why there is none."""
    parsed = answer.parse()
    if not parsed.boxes:
        assert parsed.failure is not None
        nothing = Prediction(
            outcome=Outcome(parsed.failure.value),
            reason=parsed.reason,
            named_image=None if len(answer.asked) > 1 else parsed.named_image,
        )
        return [nothing] * len(answer.asked)
    if len(answer.asked) > 1:
        found = match_boxes(parsed.boxes, answer.asked)
    else:
        found = [parsed.select_box(_asked_label(answer))]
    return [
        _prediction(answer, parsed, asked, box)
        for asked, box in zip(answer.asked, found, strict=True)
    ]


def _asked_label(answer: AnswerInContext) -> int | None:
    """The label that the asked box would bear, from 0; an image shown alone needs none."""
    (asked,) = answer.asked
    alone = len(answer.turn.images) == 1
    return None if asked.number is None or alone else asked.number - 1


def _prediction(
    answer: AnswerInContext, parsed: ParsedAnswer, asked: Asked, found: FoundBox | None
) -> Prediction:
    if found is None:
        return Prediction(outcome=Outcome.MISSING)
    boxes = len(parsed.boxes)
    image = _image_of(answer, found)
    # Of several boxes, each is in the image that it is labelled with, or in none.
    named = parsed.named_image if image is None and len(answer.asked) == 1 else image
    flags = {
        Flag.EXTRA_BOXES: boxes > len(answer.asked),
        Flag.WRONG_IMAGE: image is not None and image != asked.instances[0].target_image,
        Flag.OUTSIDE_IMAGE: found.box.is_outside,
        Flag.ZERO_AREA: not found.box.has_area,
    }
    return Prediction(
        box=answer.corrected(found.box, boxes),
        flags=tuple(flag for flag, applies in flags.items() if applies),
        named_image=named,
        span=(found.start, found.end),
    )


def _image_of(answer: AnswerInContext, found: FoundBox) -> int | None:
    """The image of the set (from 0) in which the answer puts a box, if it says or had no choice."""
    shown = answer.turn.images
    if len(shown) == 1:
        return shown[0]
    if found.label is None or answer.asked[0].noun is not Noun.IMAGE:
        return None
    return shown[found.label] if found.label < len(shown) else found.label
