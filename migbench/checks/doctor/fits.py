"""How well the answers fit the known boxes under every convention, and which of them win.

This is the one place where conventions are held against known boxes, and the boxes are those of the
doctor's own scenes. Nothing of it is used when a run is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np

from migbench.boxes import Box, Convention, FloatArray, iou
from migbench.checks.doctor.answers import Numbers
from migbench.checks.doctor.conventions import described
from migbench.messages import Size
from migbench.scoring.uncertainty import LEVEL, Interval, Sums, accuracy_interval, t_quantile

Axis = Literal["x", "y"]
AXES: tuple[Axis, ...] = get_args(Axis)

HIT_AT = 0.5
SHUFFLES = 999
CHANCE = 0.01
"""Answers say something of the scenes where fewer shuffles than these fit as well."""
NEGLIGIBLE = 0.01
"""A mean IoU's difference that decides on nothing; 0-999 and 0-1000 differ by less."""
EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Sample:
    """Numbers that were written for a known box, and the size of the image that holds it.

    ``numbers`` is None where the answer has no box. Samples of one ``cluster`` share images.
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


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How the answers fit under one convention; an answer without a box has IoU 0.

    ``hits`` is the share with an IoU of at least 0.5, in percent. ``behind`` is by how much its
    mean IoU lies below the best convention's, ``behind_along`` the same of x and y by themselves;
    None for that one, and where a single cluster says nothing of others.
    """

    convention: Convention
    name: str
    mean_iou: float
    hits: float
    interval: Interval | None
    behind: Gap | None = None
    behind_along: dict[Axis, Gap | None] = {}

    @property
    def is_worse(self) -> bool:
        """Whether it is certainly behind the best."""
        return self.behind is not None and self.behind.low > 0

    @property
    def better_along(self) -> Axis | None:
        """The axis along which it is ahead of the best all the same, if there is one.

        A convention is wrong for both axes or leaves one alone: one that makes up for a shift of
        y spoils x, as 0-1023 does where y is answered too large in 0-1000.
        """
        along = self.behind_along.items()
        return next((axis for axis, gap in along if gap is not None and gap.mean < 0), None)

    @property
    def seems_wrong(self) -> bool:
        """Whether it is behind, by more than nothing, and not for a shift of one axis."""
        far = self.behind is not None and self.behind.mean >= NEGLIGIBLE
        return far and self.better_along is None

    @property
    def matters(self) -> bool:
        """Whether it seems wrong, and certainly is."""
        return self.is_worse and self.seems_wrong


class Fits(msgspec.Struct, frozen=True, kw_only=True):
    """All conventions, those that fit best first.

    ``p`` is the chance that answers which know nothing of the scenes fit as well as the best.
    ``lead`` is by how much the best is ahead of the first that is certainly worse.
    """

    n: int
    fits: tuple[Fit, ...]
    declared: Convention
    p: float

    @property
    def best(self) -> Fit:
        """The one that fits best; of equals the declared one."""
        return self.fits[0]

    @property
    def of_declared(self) -> Fit:
        """The declared convention's."""
        return next(fit for fit in self.fits if fit.convention == self.declared)

    @property
    def rivals(self) -> tuple[Fit, ...]:
        """Those, besides the best, that these answers do not tell from it."""
        return tuple(fit for fit in self.fits[1:] if not fit.is_worse)

    @property
    def next(self) -> Fit | None:
        """The best of those that are certainly worse."""
        return next((fit for fit in self.fits if fit.is_worse), None)

    @property
    def is_chance(self) -> bool:
        """Whether no convention fits better than it may by chance."""
        return self.p > CHANCE


def fit_all(samples: Sequence[Sample], tried: Sequence[Convention], seed: int = 0) -> Fits:
    """Hold all samples against all conventions, of which the first is the declared one.

    The p value is that of the greatest of all conventions' mean IoUs when boxes are shuffled among
    scenes, so that trying many conventions is paid for (Westfall and Young 1993, on the maximum;
    Phipson and Smyth 2010, on random shuffles).
    """
    boxes = np.array([[_unit(convention, each) for each in samples] for convention in tried])
    truths = np.array([each.truth for each in samples])
    overlaps = iou(boxes[:, :, None, :], truths)  # conventions × answers × scenes
    clusters = [each.cluster for each in samples]
    own: FloatArray = np.einsum("cii->ci", overlaps)
    means = own.mean(axis=1)
    along = {axis: iou(_along(boxes, axis), _along(truths, axis)) for axis in AXES}
    order = sorted(range(len(tried)), key=lambda place: (-round(means[place], 9), place))
    best = order[0]
    fits = []
    for place in order:
        hits = Sums.of(own[place] >= HIT_AT, clusters)
        fits.append(
            Fit(
                convention=tried[place],
                name=described(tried[place]),
                mean_iou=float(means[place]),
                hits=100 * hits.mean,
                interval=accuracy_interval(hits),
                behind=None if place == best else gap(own[best] - own[place], clusters),
                behind_along={}
                if place == best
                else {
                    axis: gap(each[best] - each[place], clusters) for axis, each in along.items()
                },
            )
        )
    p = _chance(overlaps, float(means[best]), seed)
    return Fits(n=len(samples), fits=tuple(fits), declared=tried[0], p=p)


def gap(differences: FloatArray, clusters: Sequence[int]) -> Gap | None:
    """A paired difference with its interval; None where a single cluster says nothing of others."""
    sums = Sums.of(differences, clusters)
    if not sums.freedom:
        return None
    margin = t_quantile((1 + LEVEL) / 2, sums.freedom) * sums.error
    low, high = sums.mean - margin, sums.mean + margin
    # Equal conventions differ by rounding alone.
    return Gap(*(0.0 if abs(each) < EQUAL else each for each in (sums.mean, low, high)))


def _unit(convention: Convention, sample: Sample) -> Box:
    if sample.numbers is None:
        return Box(0.0, 0.0, 0.0, 0.0)
    return convention.to_unit(sample.numbers, sample.size)


def _along(boxes: FloatArray, axis: Axis) -> FloatArray:
    """The boxes as high, or as wide, as the image: what they share lies along the other axis."""
    stretched = boxes.copy()
    other = 1 - AXES.index(axis)
    stretched[..., other], stretched[..., other + 2] = 0, 1
    return stretched


def _chance(overlaps: FloatArray, observed: float, seed: int) -> float:
    count = overlaps.shape[1]
    rng = np.random.default_rng(seed)
    places = np.arange(count)
    as_good = 1
    for _ in range(SHUFFLES):
        greatest = overlaps[:, places, rng.permutation(count)].mean(axis=1).max()
        as_good += greatest >= observed - EQUAL
    return float(as_good) / (SHUFFLES + 1)
