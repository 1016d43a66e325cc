"""Boxes as other programs write them: the top left corner, the width and the height."""

from __future__ import annotations

import math

from migbench.boxes import Box
from migbench.messages import Size

UNIT = Size(1, 1)
"""Of boxes in 0-1 of the image."""


def corner_and_size(box: Box, size: Size = UNIT) -> list[float] | None:
    """``[x, y, width, height]`` in an image of ``size``; None for a box that has no such form.

    That is one whose corners are in the wrong order, which meets nothing, or one beyond all
    measure, which an answer under the released protocol may hold.

    >>> corner_and_size(Box(0.25, 0.5, 0.75, 1.0), Size(400, 200))
    [100.0, 100.0, 200.0, 100.0]
    """
    left, right = box.x1 * size.width, box.x2 * size.width
    top, bottom = box.y1 * size.height, box.y2 * size.height
    numbers = [left, top, right - left, bottom - top]
    if box.is_inverted or not all(map(math.isfinite, numbers)):
        return None
    return numbers


def truth_corner_and_size(box: Box, size: Size = UNIT) -> list[float]:
    """The same for ground truth, which is always written: corners in the wrong order get no area.

    Only the released protocol leaves them in the wrong order; nothing can meet them there either.
    """
    left, top = box.x1 * size.width, box.y1 * size.height
    width, height = box.x2 * size.width - left, box.y2 * size.height - top
    return [left, top, max(width, 0.0), max(height, 0.0)]
