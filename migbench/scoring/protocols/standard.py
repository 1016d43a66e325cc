"""The standard protocol: the dialect's declared convention, and every outcome kept apart.

Of a question's one box, the one labelled with the asked image counts, else the first; of several,
see `migbench.scoring.matching`. Defective truth is repaired: corners sorted, clipped to the image.
"""

from __future__ import annotations

from migbench.asking.questions import Asked
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import FoundBox, ParsedAnswer
from migbench.scoring.matching import match_boxes
from migbench.scoring.outcomes import Flag, Outcome, Prediction
from migbench.scoring.scorer import ScoringContext
from migbench.tasks import Noun


def truth(instance: Instance) -> Box:
    """The target's box, repaired where it is defective."""
    return instance.box.repaired()


def predict(context: ScoringContext) -> list[Prediction]:
    """For every box that the answer is to give: the one it gives, or why there is none."""
    parsed = context.parse()
    if not parsed.boxes:
        assert parsed.failure is not None
        nothing = Prediction(
            outcome=Outcome(parsed.failure.value),
            reason=parsed.reason,
            named_image=None if len(context.asked) > 1 else parsed.named_image,
        )
        return [nothing] * len(context.asked)
    if len(context.asked) > 1:
        found = match_boxes(parsed.boxes, context.asked)
    else:
        found = [parsed.select_box(_asked_label(context))]
    return [
        _prediction(context, parsed, asked, box)
        for asked, box in zip(context.asked, found, strict=True)
    ]


def _asked_label(context: ScoringContext) -> int | None:
    """The label that the asked box would bear, from 0; an image shown alone needs none."""
    (asked,) = context.asked
    alone = len(context.turn.images) == 1
    return None if asked.number is None or alone else asked.number - 1


def _prediction(
    context: ScoringContext, parsed: ParsedAnswer, asked: Asked, found: FoundBox | None
) -> Prediction:
    if found is None:
        return Prediction(outcome=Outcome.MISSING)
    boxes = len(parsed.boxes)
    image = _image_of(context, found)
    # Of several boxes, each is in the image that it is labelled with, or in none.
    named = parsed.named_image if image is None and len(context.asked) == 1 else image
    flags = {
        Flag.EXTRA_BOXES: boxes > len(context.asked),
        Flag.WRONG_IMAGE: image is not None and image != asked.instances[0].target_image,
        Flag.OUTSIDE_IMAGE: found.box.is_outside,
        Flag.ZERO_AREA: not found.box.has_area,
    }
    return Prediction(
        box=context.corrected(found.box, boxes),
        flags=tuple(flag for flag, applies in flags.items() if applies),
        named_image=named,
        span=(found.start, found.end),
    )


def _image_of(context: ScoringContext, found: FoundBox) -> int | None:
    """The image of the set (from 0) in which the answer puts a box, if it says or had no choice."""
    shown = context.turn.images
    if len(shown) == 1:
        return shown[0]
    if found.label is None or context.asked[0].noun is not Noun.IMAGE:
        return None
    return shown[found.label] if found.label < len(shown) else found.label
