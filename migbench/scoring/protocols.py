"""The two protocols: how an answer becomes a box, and what the truth is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.scoring import released, standard
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Prediction


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way of scoring. ``predict`` gives one prediction for every target of the question."""

    name: str
    predict: Callable[[AnswerInContext], list[Prediction]]
    truth: Callable[[Instance], Box]


PROTOCOLS = {
    "standard": Protocol("standard", standard.predict, standard.truth),
    "released": Protocol("released", released.predict, released.truth),
}
