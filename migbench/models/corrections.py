"""Corrections of a model's known coordinate bias: declared in its profile, named by results."""

from __future__ import annotations

import msgspec

from migbench.boxes import Box


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Linear scaling of a box's top and bottom edge, in 0-1 of the image.

    Migician's authors scale y by 1.05 and 1.10, for a shift that training left in the weights
    (released evaluator). Applied only where an answer holds a single box, as they do.
    """

    y1: float
    y2: float
    max: float
    digits: int

    def apply(self, box: Box) -> Box:
        """The corrected box; x is left alone."""
        top = round(min(box.y1 * self.y1, self.max), self.digits)
        bottom = round(min(box.y2 * self.y2, self.max), self.digits)
        return Box(box.x1, top, box.x2, bottom)

    def __str__(self) -> str:
        """One line for under a table."""
        return f"y scaling ×{self.y1:.2f}, ×{self.y2:.2f}"
