"""The protocols: how an answer becomes a box, what the truth is, and how both are measured.

A protocol is registered here once; every command, option and file that offers protocols asks
`PROTOCOLS` for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy.typing as npt

from migbench.boxes import Box, FloatArray, iou
from migbench.data.annotations import Instance
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Prediction
from migbench.scoring.protocols import released, standard, univg


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way of scoring, by its ``name``; ``about`` says in a few words what it scores.

    ``predict`` gives one prediction for every box that the answer is to give, ``truth`` the box
    that a target's prediction is held against (both in 0-1 of the image), and ``iou`` their
    intersection over union, pair by pair. Where the protocol ``reads_images``, a prediction has the
    image that the answer names; the published evaluators never look at it.
    """

    name: str
    about: str
    predict: Callable[[AnswerInContext], list[Prediction]]
    truth: Callable[[Instance], Box]
    iou: Callable[[npt.ArrayLike, npt.ArrayLike], FloatArray] = iou
    reads_images: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            "the declared convention",
            standard.predict,
            standard.truth,
            reads_images=True,
        ),
        Protocol("released", "as the published evaluator scores", released.predict, released.truth),
        Protocol(
            "univg",
            "as UniVG-R1's fork of it scores",
            univg.predict,
            released.truth,
            univg.iou_in_thousandths,
        ),
    )
}
"""By name; the first is the default."""

DEFAULT_PROTOCOL = next(iter(PROTOCOLS))
