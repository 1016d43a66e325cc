"""Conventions ranked by how well the answers match the known boxes under each.

Only here are conventions compared with known boxes, and the boxes are those of the doctor's own
scenes. Nothing of it is used when a run is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np

from migbench.boxes import Box, Convention, FloatArray, iou
from migbench.checks.doctor.answers import Numbers, percent
from migbench.checks.doctor.conventions import described
from migbench.messages import Size
from migbench.scoring.uncertainty import LEVEL, Interval, Sums, t_quantile

Axis = Literal["x", "y"]
AXES: tuple[Axis, ...] = get_args(Axis)

HIT_AT = 0.5
SHUFFLES = 999
CHANCE = 0.01
"""Answers depend on the scenes where the p value is at most this."""
NEGLIGIBLE = 0.01
"""A difference of mean IoU that decides on nothing; 0-999 and 0-1000 differ by less."""
EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class AnsweredBox:
    """An answer's numbers, the known box, and the size of the image that holds it.

    ``numbers`` is None where the answer has no box. Answers of one ``cluster`` share images.
    """

    numbers: Numbers | None
    size: Size
    truth: Box
    cluster: int


class Gap(msgspec.Struct, frozen=True):
    """A paired difference of mean IoU, with its 95 % interval over image clusters (Student's t)."""

    mean: float
    low: float
    high: float


def helps(gain: Gap | None) -> bool:
    """Whether a gain is significant and not negligible."""
    return gain is not None and gain.low > 0 and gain.mean >= NEGLIGIBLE


def hurts(gain: Gap | None) -> bool:
    """Whether a gain is significantly negative and not negligible."""
    return gain is not None and gain.high < 0 and gain.mean <= -NEGLIGIBLE


class RankedConvention(msgspec.Struct, frozen=True, kw_only=True):
    """How the answers match under one convention; an answer without a box has IoU 0.

    ``hits`` is the share with an IoU of at least 0.5, in percent. ``gap`` is the best convention's
    mean IoU less this one's, ``gap_along`` the same of x and y by themselves; None for the best
    itself, and where a single cluster says nothing of others.
    """

    convention: Convention
    name: str
    mean_iou: float
    hits: float
    interval: Interval | None
    gap: Gap | None = None
    gap_along: dict[Axis, Gap | None] = {}

    @property
    def is_worse(self) -> bool:
        """Whether it is significantly worse than the best."""
        return self.gap is not None and self.gap.low > 0

    @property
    def better_along(self) -> Axis | None:
        """The axis along which it is better than the best all the same, if there is one.

        A wrong convention is wrong for both axes or leaves one alone. One that compensates a shift
        of y makes x worse, as 0-1023 does where y is answered too large in 0-1000.
        """
        along = self.gap_along.items()
        return next((axis for axis, gap in along if gap is not None and gap.mean < 0), None)

    @property
    def seems_wrong(self) -> bool:
        """Whether its gap is not negligible, and not due to a shift of one axis."""
        is_far = self.gap is not None and self.gap.mean >= NEGLIGIBLE
        return is_far and self.better_along is None

    @property
    def is_wrong(self) -> bool:
        """Whether it seems wrong, significantly."""
        return self.is_worse and self.seems_wrong


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """All conventions, the best first; of equal ones the declared first.

    ``p`` is the probability that answers which do not depend on the scenes match as well as under
    the best convention.
    """

    n: int
    ranked: tuple[RankedConvention, ...]
    declared: Convention
    p: float

    @property
    def best(self) -> RankedConvention:
        """The convention with the highest mean IoU."""
        return self.ranked[0]

    @property
    def of_declared(self) -> RankedConvention:
        """The declared convention."""
        return next(each for each in self.ranked if each.convention == self.declared)

    @property
    def tied(self) -> tuple[RankedConvention, ...]:
        """Those, besides the best, that are statistically tied with it."""
        return tuple(each for each in self.ranked[1:] if not each.is_worse)

    @property
    def next(self) -> RankedConvention | None:
        """The best of those that are significantly worse."""
        return next((each for each in self.ranked if each.is_worse), None)

    @property
    def is_chance(self) -> bool:
        """Whether no convention matches significantly better than by chance."""
        return self.p > CHANCE


def rank(samples: Sequence[AnsweredBox], tried: Sequence[Convention], seed: int = 0) -> Ranking:
    """All samples under all conventions, of which the first is the declared one.

    The p value is that of the greatest of all conventions' mean IoUs when boxes are shuffled among
    scenes, which corrects for trying many conventions (Westfall and Young 1993, on the maximum;
    Phipson and Smyth 2010, on random shuffles).
    """
    boxes = np.array([[_unit(convention, each) for each in samples] for convention in tried])
    truths = np.array([each.truth for each in samples])
    overlaps = iou(boxes[:, :, None, :], truths)  # conventions × answers × scenes
    clusters = [each.cluster for each in samples]
    own: FloatArray = np.einsum("cii->ci", overlaps)
    means = own.mean(axis=1)
    along = {axis: iou(_along(boxes, axis), _along(truths, axis)) for axis in AXES}
    order = sorted(range(len(tried)), key=lambda index: (-round(means[index], 9), index))
    best = order[0]

    def ranked(index: int) -> RankedConvention:
        hits, interval = percent(own[index] >= HIT_AT, clusters)
        found = RankedConvention(
            convention=tried[index],
            name=described(tried[index]),
            mean_iou=float(means[index]),
            hits=hits or 0.0,
            interval=interval,
        )
        if index == best:
            return found
        return msgspec.structs.replace(
            found,
            gap=gap(own[best] - own[index], clusters),
            gap_along={
                axis: gap(each[best] - each[index], clusters) for axis, each in along.items()
            },
        )

    p = _chance(overlaps, float(means[best]), seed)
    return Ranking(n=len(samples), ranked=tuple(map(ranked, order)), declared=tried[0], p=p)


def gap(differences: FloatArray, clusters: Sequence[int]) -> Gap | None:
    """A paired difference with its interval; None where a single cluster says nothing of others."""
    sums = Sums.of(differences, clusters)
    if not sums.freedom:
        return None
    margin = t_quantile((1 + LEVEL) / 2, sums.freedom) * sums.error
    low, high = sums.mean - margin, sums.mean + margin
    # Equal conventions differ by rounding alone.
    return Gap(*(0.0 if abs(each) < EQUAL else each for each in (sums.mean, low, high)))


def _unit(convention: Convention, sample: AnsweredBox) -> Box:
    if sample.numbers is None:
        return Box(0.0, 0.0, 0.0, 0.0)
    return convention.to_unit(sample.numbers, sample.size)


def _along(boxes: FloatArray, axis: Axis) -> FloatArray:
    """The boxes as high, or as wide, as the image, so that IoU is that along the axis alone."""
    stretched = boxes.copy()
    other = 1 - AXES.index(axis)
    stretched[..., other], stretched[..., other + 2] = 0, 1
    return stretched


def _chance(overlaps: FloatArray, observed: float, seed: int) -> float:
    count = overlaps.shape[1]
    rng = np.random.default_rng(seed)
    indices = np.arange(count)
    as_good = 1
    for _ in range(SHUFFLES):
        greatest = overlaps[:, indices, rng.permutation(count)].mean(axis=1).max()
        as_good += greatest >= observed - EQUAL
    return float(as_good) / (SHUFFLES + 1)
