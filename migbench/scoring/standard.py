"""The standard protocol: the dialect's declared convention, and every outcome kept apart.

The box labelled with the asked image counts, else the first; further boxes are flagged. Defective
truth is repaired: its corners are sorted and clipped to the image.
"""

from __future__ import annotations

from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import Reading
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Flag, Outcome, Prediction


def truth(instance: Instance) -> Box:
    """The target's box, repaired where it is defective."""
    return instance.box.repaired()


def predict(answer: AnswerInContext) -> list[Prediction]:
    """The box that the answer gives for the question's one target, or why it gives none."""
    (target,) = answer.question.targets
    reading = answer.read()
    found = reading.choose(target.asked_image)
    if found is None:
        assert reading.unread is not None
        outcome = Outcome(reading.unread.value)
        return [Prediction(outcome=outcome, named_image=reading.named_image)]
    named = found.image if found.image is not None else reading.named_image
    return [
        Prediction(
            box=answer.corrected(found.box, len(reading.boxes)),
            flags=_flags(reading, found.box, found.image, target),
            named_image=named,
        )
    ]


def _flags(reading: Reading, box: Box, image: int | None, target: Instance) -> tuple[Flag, ...]:
    flags = {
        Flag.EXTRA_BOXES: len(reading.boxes) > 1,
        Flag.WRONG_IMAGE: image is not None and image != target.target_image,
        Flag.OUTSIDE_IMAGE: box.is_outside,
        Flag.ZERO_AREA: not box.has_area,
    }
    return tuple(flag for flag, applies in flags.items() if applies)
