"""What stands behind the things: a soft light over a faint pattern.

The light always turns warmer to the right and dimmer towards the bottom, whatever the palette, so
that the colour of the ground tells where in the image one looks: small models need that to learn
positions. The light belongs to the camera and keeps its place when the view changes; the pattern
belongs to the scene and moves with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from migbench.messages import Size
from migbench.mini.scene import View

Field = NDArray[np.float64]
"""One number a pixel, shape (height, width), or what broadcasts to it."""

RGB = tuple[int, int, int]

PALETTES: MappingProxyType[str, tuple[RGB, RGB]] = MappingProxyType(
    {
        "dawn": ((170, 206, 246), (255, 217, 176)),
        "orchard": ((170, 226, 206), (250, 205, 200)),
        "lavender": ((188, 188, 240), (250, 240, 180)),
        "shore": ((164, 220, 230), (246, 224, 194)),
        "linen": ((196, 208, 222), (250, 232, 208)),
    }
)
"""The colours of the upper left and of the upper right."""


def _hills(x: Field, y: Field, phase: float) -> Field:
    ridges = (
        1.0 / (1.0 + np.exp(60.0 * (rise + 0.07 * np.sin(pace * x + phase * turn) - y)))
        for rise, pace, turn in ((0.42, 6.0, 1.0), (0.62, 9.0, 2.3), (0.8, 7.0, 3.1))
    )
    return 1.0 - 2.0 / 3.0 * sum(ridges, start=np.zeros(1))


def _dots(x: Field, y: Field, phase: float) -> Field:
    bumps = np.cos(26.0 * x + phase) * np.cos(26.0 * y + 2.0 * phase)
    return np.tanh(6.0 * (bumps - 0.4))


PATTERNS: MappingProxyType[str, Callable[[Field, Field, float], Field]] = MappingProxyType(
    {
        "plain": lambda x, y, phase: np.zeros_like(x),
        "hills": _hills,
        "dots": _dots,
        "stripes": lambda x, y, phase: np.tanh(3.0 * np.sin(20.0 * (x + 0.6 * y) + phase)),
        "waves": lambda x, y, phase: np.sin(24.0 * y + phase + 1.2 * np.sin(7.0 * x + phase)),
        "tiles": lambda x, y, phase: np.tanh(
            8.0 * np.sin(14.0 * x + phase) * np.sin(14.0 * y + 2.0 * phase)
        ),
    }
)
"""Name -> brightness in about -1 to 1 over scene coordinates, given a phase.

x comes as one row and y as one column, both in about 0-1.
"""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """One background, still without a size.

    ``tilt`` turns the light, in degrees; ``shade`` is the share of light lost from top to bottom;
    ``contrast`` is the pattern's strength in levels of 255.
    """

    palette: str
    pattern: str
    tilt: float
    shade: float
    contrast: float
    phase: float

    def render(self, size: Size, view: View = View()) -> Image.Image:
        """The background in RGB, ``size`` large, as seen from ``view``."""
        return Image.fromarray(_levels(self, size, view))


# The frames of one camera share their background.
@lru_cache(maxsize=4)
def _levels(backdrop: Backdrop, size: Size, view: View) -> NDArray[np.uint8]:
    y = ((np.arange(size.height) + 0.5) / size.height)[:, None]
    x = ((np.arange(size.width) + 0.5) / size.width)[None, :]
    cos, sin = np.cos(np.radians(backdrop.tilt)), np.sin(np.radians(backdrop.tilt))
    warm = np.clip(0.5 + (x - 0.5) * cos + (y - 0.5) * sin, 0.0, 1.0)
    dim = 1.0 - backdrop.shade * np.clip(0.5 + (y - 0.5) * cos - (x - 0.5) * sin, 0.0, 1.0)
    scene_x = 0.5 + (x - view.right - 0.5) / view.scale
    scene_y = 0.5 + (y - view.down - 0.5) / view.scale
    relief = backdrop.contrast * PATTERNS[backdrop.pattern](scene_x, scene_y, backdrop.phase)
    levels = np.empty((size.height, size.width, 3), dtype=np.uint8)
    # One channel after the other: small arrays stay in the processor's cache.
    for channel, (left, right) in enumerate(zip(*PALETTES[backdrop.palette], strict=True)):
        light = (left + (right - left) * warm) * dim + relief
        levels[..., channel] = np.clip(np.rint(light), 0, 255)
    return levels


def random_backdrop(rng: np.random.Generator) -> Backdrop:
    """Any palette and pattern, the light tilted by up to 15 degrees."""
    return Backdrop(
        palette=str(rng.choice(list(PALETTES))),
        pattern=str(rng.choice(list(PATTERNS))),
        tilt=float(rng.uniform(-15.0, 15.0)),
        shade=float(rng.uniform(0.2, 0.32)),
        contrast=float(rng.uniform(3.0, 7.0)),
        phase=float(rng.uniform(0.0, 6.28)),
    )
