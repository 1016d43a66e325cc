"""The outlines that things are made of, and the colours that they wear.

An outline is a list of patches in any unit, x to the right and y down: each patch adds its polygon
to the shape or cuts it out. Only proportions matter: drawing stretches an outline to fill its box.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Corners of a polygon, shape (n, 2), as x and y."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One polygon of an outline; ``hole`` cuts it out of what stands before it."""

    points: Points
    hole: bool = False


Outline = tuple[Patch, ...]

COLOURS = MappingProxyType(
    {
        "red": (208, 38, 54),
        "orange": (243, 132, 24),
        "yellow": (252, 212, 34),
        "green": (48, 156, 76),
        "blue": (44, 92, 214),
        "purple": (126, 62, 178),
        "pink": (248, 118, 184),
        "black": (52, 52, 60),
    }
)
"""Name -> RGB. None is the pure red of the box that marks a reference object."""


def polygon(*corners: tuple[float, float], hole: bool = False) -> Patch:
    """A patch with these corners."""
    return Patch(np.array(corners, dtype=np.float64), hole)


def arc(
    x: float, y: float, across: float, down: float, start: float = 0.0, stop: float = 360.0
) -> Points:
    """Points on an ellipse, from one angle to another, in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, 73))
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def disc(x: float, y: float, across: float, down: float | None = None, hole: bool = False) -> Patch:
    """A circle, or with ``down`` an ellipse, by its centre and radii."""
    return Patch(arc(x, y, across, across if down is None else down), hole)


def bar(left: float, top: float, right: float, bottom: float, hole: bool = False) -> Patch:
    """An upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom), hole=hole)


def rosette(count: int, inner: float, start: float = -90.0) -> Patch:
    """A star of ``count`` points; ``inner`` is the radius of its notches to that of its tips."""
    angles = np.radians(start + np.arange(2 * count) * 180.0 / count)
    radii = np.where(np.arange(2 * count) % 2 == 0, 1.0, inner)
    return Patch(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))


def _polar(radius: NDArray[np.float64], angles: NDArray[np.float64]) -> Patch:
    return Patch(np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1))


_TURN = np.linspace(0.0, 2.0 * np.pi, 145)


def _heart() -> Outline:
    across = 16 * np.sin(_TURN) ** 3
    up = 13 * np.cos(_TURN) - 5 * np.cos(2 * _TURN) - 2 * np.cos(3 * _TURN) - np.cos(4 * _TURN)
    return (Patch(np.stack([across, -up], axis=1)),)


def _moon() -> Outline:
    outer = arc(0.0, 0.0, 1.0, 1.0, 52.0, 308.0)
    inner = arc(0.5, 0.0, 0.8, 0.8, 278.0, 82.0)
    return (Patch(np.concatenate([outer, inner])),)


def _drop() -> Outline:
    across = 0.72 * np.sin(_TURN) * np.sin(_TURN / 2) ** 1.4
    return (Patch(np.stack([across, -np.cos(_TURN)], axis=1)),)


def _flower() -> Outline:
    return (_polar(0.74 + 0.26 * np.cos(5 * _TURN), _TURN - np.pi / 2), disc(0, 0, 0.2, hole=True))


def _gear() -> Outline:
    teeth = np.clip(2.5 * np.cos(8 * _TURN), -1.0, 1.0)
    return (_polar(0.86 + 0.14 * teeth, _TURN), disc(0, 0, 0.34, hole=True))


FAMILIAR: MappingProxyType[str, Outline] = MappingProxyType(
    {
        "circle": (disc(0, 0, 1),),
        "square": (bar(0, 0, 1, 1),),
        "triangle": (polygon((0.5, 0), (1, 0.92), (0, 0.92)),),
        "star": (rosette(5, 0.42),),
        "cross": (
            bar(0.34, 0, 0.66, 1),
            bar(0, 0.34, 1, 0.66),
        ),
        "heart": _heart(),
        "ring": (disc(0, 0, 1), disc(0, 0, 0.56, hole=True)),
        "diamond": (polygon((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),),
        "moon": _moon(),
        "arrow": (
            polygon((0, 0.3), (0.5, 0.3), (0.5, 0), (1, 0.5), (0.5, 1), (0.5, 0.7), (0, 0.7)),
        ),
        "hexagon": (Patch(arc(0, 0, 1, 1)[::12][:6]),),
        "house": (
            polygon((0.5, 0), (1, 0.46), (0, 0.46)),
            bar(0.14, 0.4, 0.86, 1),
            bar(0.4, 0.62, 0.6, 1.01, hole=True),
        ),
        "drop": _drop(),
        "flower": _flower(),
        "bolt": (
            polygon((0.62, 0), (0.1, 0.58), (0.44, 0.58), (0.3, 1), (0.9, 0.38), (0.54, 0.38)),
        ),
        "tree": (
            polygon((0.5, 0), (0.88, 0.46), (0.12, 0.46)),
            polygon((0.5, 0.22), (1, 0.8), (0, 0.8)),
            bar(0.41, 0.8, 0.59, 1),
        ),
    }
)
"""Kinds that training scenes hold and that questions call by name."""

NOVEL: MappingProxyType[str, Outline] = MappingProxyType(
    {
        "cloud": (
            disc(0.2, 0.52, 0.2),
            disc(0.43, 0.3, 0.26),
            disc(0.68, 0.36, 0.2),
            disc(0.83, 0.55, 0.17),
            bar(0.2, 0.5, 0.83, 0.72),
        ),
        "fish": (
            disc(0.4, 0.5, 0.4, 0.36),
            polygon((0.62, 0.5), (1, 0.12), (1, 0.88)),
            disc(0.2, 0.42, 0.065, hole=True),
        ),
        "crown": (
            polygon(
                (0, 0.12), (0.27, 0.5), (0.5, 0), (0.73, 0.5), (1, 0.12), (0.9, 0.9), (0.1, 0.9)
            ),
        ),
        "key": (
            disc(0.5, 0.26, 0.26),
            disc(0.5, 0.26, 0.11, hole=True),
            bar(0.42, 0.46, 0.58, 1),
            bar(0.42, 0.68, 0.82, 0.79),
            bar(0.42, 0.88, 0.82, 1),
        ),
        "mushroom": (
            Patch(arc(0.5, 0.52, 0.5, 0.52, 180, 360)),
            polygon((0.36, 0.5), (0.64, 0.5), (0.72, 1), (0.28, 1)),
        ),
        "boat": (
            polygon((0, 0.72), (1, 0.72), (0.8, 1), (0.2, 1)),
            polygon((0.46, 0), (0.46, 0.64), (0.05, 0.64)),
            polygon((0.52, 0.12), (0.92, 0.64), (0.52, 0.64)),
            bar(0.46, 0, 0.52, 0.74),
        ),
        "hourglass": (
            polygon((0, 0), (1, 0), (0.56, 0.5), (0.44, 0.5)),
            polygon((0, 1), (1, 1), (0.56, 0.5), (0.44, 0.5)),
        ),
        "gear": _gear(),
    }
)
"""Kinds that only test scenes hold; questions never need their names."""

PARTS: MappingProxyType[str, Outline] = MappingProxyType(
    {
        "wheel": (disc(0, 0, 1), disc(0, 0, 0.3, hole=True)),
        "grip right": (
            Patch(np.concatenate([arc(0, 0, 1, 1, -90, 90), arc(0, 0, 0.55, 0.6, 90, -90)])),
        ),
        "lid dome": (
            disc(0.5, 0.16, 0.12, 0.16),
            Patch(arc(0.5, 1.0, 0.5, 0.76, 180, 360)),
        ),
        "lid flat": (
            bar(0.4, 0, 0.6, 0.5),
            polygon((0, 0.45), (1, 0.45), (0.94, 1), (0.06, 1)),
        ),
        "rod rising": (polygon((0, 0.72), (0.82, 0), (1, 0.22), (0.16, 1)),),
        "rod falling": (polygon((0, 0.22), (0.18, 0), (1, 0.72), (0.84, 1)),),
        "hoop": (
            bar(0, 0, 1, 0.32),
            bar(0, 0, 0.2, 1),
            bar(0.8, 0, 1, 1),
        ),
        "tub": (polygon((0, 0), (1, 0), (0.84, 1), (0.16, 1)),),
        "pail": (polygon((0.18, 0), (0.82, 0), (1, 1), (0, 1)),),
        "tray": (polygon((0, 0), (1, 0), (0.86, 1), (0.3, 1)),),
        "block": (bar(0, 0, 1, 1),),
        "ball": (disc(0, 0, 1),),
        "bowl": (Patch(arc(0, 0, 1, 1, 0, 180)),),
        "spout left": (polygon((0, 0), (0.34, 0), (1, 0.5), (1, 1), (0.62, 0.9)),),
    }
)
"""What composite objects are put together from (see `migbench.mini.composites`)."""

OUTLINES: MappingProxyType[str, Outline] = MappingProxyType({**FAMILIAR, **NOVEL, **PARTS})
"""Every outline by name."""


@cache
def proportion(kind: str) -> float:
    """Width to height of an outline at rest, moderated so that no thing is thin."""
    solid = np.concatenate([patch.points for patch in OUTLINES[kind] if not patch.hole])
    width, height = np.ptp(solid, axis=0)
    return float(np.clip(width / height, 0.7, 1.4))
