"""The protocol ``univg``: what UniVG-R1's fork of the published evaluator scores.

Later papers report through that fork (AMAP-ML/UniVG-R1, ``eval/MIG_bench``). It tries the six
patterns of the published evaluator (`migbench.scoring.protocols.released`), but keeps boxes and
truths as whole thousandths: a box of decimals is none, and the IoU is that of the whole numbers.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from migbench.boxes import Box, FloatArray, iou
from migbench.models.corrections import Correction
from migbench.scoring.outcomes import Prediction
from migbench.scoring.protocols.released import first_matches, given, nothing_given
from migbench.scoring.scorer import ScoringContext

THOUSANDTHS = 1000


def predict(context: ScoringContext) -> list[Prediction]:
    """The first match of the first pattern that matches anything, if it is of whole numbers.

    Of several matches the fork drops the last before it takes the first, which changes nothing. It
    asks for one box alone: of an answer that is to give several, they count in their order.
    """
    matches = first_matches(context.answer.text)
    found = [
        (_corrected(box, context.scorer.correction), match.span())
        for match in matches
        if (box := _box(match)) is not None
    ]
    return given(context, found) if found else nothing_given(context)


def iou_in_thousandths(boxes: npt.ArrayLike, truths: npt.ArrayLike) -> FloatArray:
    """Intersection over union of boxes in 0-1, each edge taken as the nearest whole thousandth.

    >>> float(iou_in_thousandths([0.1, 0.1, 0.3, 0.3], [0.1, 0.1, 0.3, 0.2]))
    0.5
    """
    return iou(_whole(boxes), _whole(truths))


def _whole(boxes: npt.ArrayLike) -> FloatArray:
    whole: FloatArray = np.rint(np.asarray(boxes, dtype=np.float64) * THOUSANDTHS)
    return whole


def _box(match: re.Match[str]) -> Box | None:
    """The box in 0-1; None where a number is a decimal, which the fork's ``int`` refuses."""
    if any("." in digits for digits in match.groups()):
        return None
    return Box(*(float(digits) / THOUSANDTHS for digits in match.groups()))


def _corrected(box: Box, correction: Correction | None) -> Box:
    """The fork corrects the box it takes of however many, and cuts the result to thousandths."""
    if correction is None:
        return box
    scaled = correction.apply(box)
    return scaled._replace(
        y1=int(scaled.y1 * THOUSANDTHS) / THOUSANDTHS, y2=int(scaled.y2 * THOUSANDTHS) / THOUSANDTHS
    )
