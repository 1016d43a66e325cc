"""What can become of a target: one outcome, and flags beside it that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from migbench.boxes import Box
from migbench.dialects import Reason


class Outcome(StrEnum):
    """One for every target: the first that applies, in this order."""

    MODEL_ERROR = "model_error"
    """No answer."""
    TRUNCATED = "truncated"
    """The token limit was reached and no box was read."""
    REFUSED = "refused"
    """The model says that it cannot, and gives no box."""
    UNREADABLE = "unreadable"
    """No box in the declared syntax."""
    MISSING = "missing"
    """Boxes, but none for this target."""
    HIT = "hit"
    """IoU of at least 0.5."""
    MISS = "miss"
    """IoU below 0.5."""


class Flag(StrEnum):
    """Worth knowing about a box that was read."""

    EXTRA_BOXES = "extra_boxes"
    WRONG_IMAGE = "wrong_image"
    OUTSIDE_IMAGE = "outside_image"
    ZERO_AREA = "zero_area"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an answer gives for one target: a box in 0-1 of the image, or why there is none."""

    box: Box | None = None
    outcome: Outcome | None = None
    flags: tuple[Flag, ...] = ()
    reason: Reason | None = None
    """What an unreadable answer holds instead of a box."""
    named_image: int | None = None
    """The image, from 0, that the answer names."""
    image_wanted: bool = False
    """Whether the model was asked to name the image."""
    span: tuple[int, int] | None = None
    """Where in the answer's text the box stands: start and end, in characters."""
