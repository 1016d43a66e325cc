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


def obstacles(
    problems: Sequence[Problem], boxes: Sequence[Box] | None, scale: float
) -> tuple[str, ...]:
    """Why no run can be made of an annotation file.

    ``boxes`` are all of its boxes, in the 0-1 of the scale that was declared for them; None where
    the file's scale is known.
    """
    return tuple(_obstacles(problems, boxes, scale))


def _obstacles(
    problems: Sequence[Problem], boxes: Sequence[Box] | None, scale: float
) -> Iterator[str]:
    if problems:
        yield f"malformed records: {len(problems)}"
    if boxes is not None and not boxes:
        yield "no instances"
    elif boxes and (wrong := _wrong_scale(boxes, scale)):
        yield wrong


def _wrong_scale(boxes: Sequence[Box], scale: float) -> str:
    """Why boxes cannot be meant in this scale; empty where they can."""
    declared = f"taken in 0-{scale:g}"
    outside = sum(box.is_outside for box in boxes)
    largest = max(0.0, *(max(box) for box in boxes))
    if outside > len(boxes) / 2:
        return (
            f"{outside} of {len(boxes)} boxes, {declared}, lie outside their image "
            f"(the largest edge is {largest * scale:g}): declare the file's own scale, such as "
            "--scale 1000; boxes in pixels have to be divided by their image's size first"
        )
    if scale > 1 and largest <= 1 / scale:
        return f"all boxes, {declared}, are next to nothing: declare --scale 1"
    return ""
