"""Whether scores on an annotation file would mean anything: one rule for every command.

``data check`` prints the reasons, and whatever asks, imports or scores refuses in the same words
(`migbench.data.annotations.Annotations.require_usable`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migbench.boxes import Box


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that cannot be used: its place in the file, the line where it begins, and why.

    Places count from 0, lines from 1.
    """

    index: int
    line: int
    message: str


class ScaleCheck:
    """What the boxes of a file, in the scale that was declared for them, say against that scale."""

    def __init__(self) -> None:
        """Of no box yet."""
        self.boxes = self.outside = 0
        self.largest = 0.0
        """The largest edge, in the declared scale's 0-1."""

    def add(self, box: Box) -> None:
        """One more box."""
        self.boxes += 1
        self.outside += box.is_outside
        self.largest = max(self.largest, *box)

    def trouble(self, scale: float) -> str:
        """Boxes that cannot be meant in this scale, put into words; or nothing."""
        declared = f"taken in 0-{scale:g}"
        if self.outside > self.boxes / 2:
            largest = self.largest * scale
            return (
                f"{self.outside} of {self.boxes} boxes, {declared}, lie outside their image "
                f"(the largest edge is {largest:g}): declare the file's own scale, such as "
                "--scale 1000; boxes in pixels have to be divided by their image's size first"
            )
        if scale > 1 and self.largest <= 1 / scale:
            return f"all boxes, {declared}, are next to nothing: declare --scale 1"
        return ""


def obstacles(
    problems: Sequence[Problem], boxes: ScaleCheck | None, scale: float
) -> tuple[str, ...]:
    """Why no run can be made of an annotation file; ``boxes`` is None where its scale is known."""
    return tuple(_obstacles(problems, boxes, scale))


def _obstacles(
    problems: Sequence[Problem], boxes: ScaleCheck | None, scale: float
) -> Iterator[str]:
    if problems:
        yield f"malformed records: {len(problems)}"
    if boxes is not None and not boxes.boxes:
        yield "no instances"
    elif boxes is not None and (wrong := boxes.trouble(scale)):
        yield wrong
