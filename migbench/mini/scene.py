"""What a scene is, before and after it is drawn: things, pages, questions, image sets.

A task plans its scene in these terms and never touches a pixel; `migbench.mini.drawing` turns the
plan into images and measures the answers from what was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from migbench.messages import Size

if TYPE_CHECKING:
    from PIL.Image import Image

    from migbench.mini.backdrops import Backdrop

Fractions = tuple[float, float, float, float]
"""x1, y1, x2, y2 in 0-1 of an image's width and height."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in whole pixels; ``right`` and ``bottom`` lie just outside, as in slicing."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """The box of about this width and height whose centre is nearest to (x, y)."""
        wide, high = max(1, round(width)), max(1, round(height))
        left, top = round(x - wide / 2), round(y - high / 2)
        return cls(left, top, left + wide, top + high)

    @property
    def width(self) -> int:
        """Pixels from the left edge to the right one."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels from the top edge to the bottom one."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle, in pixels."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, pixels: int) -> Box:
        """The box with every edge moved outwards."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def overlap(self, other: Box) -> int:
        """Pixels that both boxes hold."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0, wide) * max(0, high)

    def joined(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def fits(self, size: Size, margin: int = 0) -> bool:
        """Whether it lies inside an image of this size, ``margin`` pixels away from its edges."""
        return (
            self.left >= margin
            and self.top >= margin
            and self.right <= size.width - margin
            and self.bottom <= size.height - margin
        )

    def fractions(self, size: Size) -> Fractions:
        """The box in 0-1 of an image of this size, to three decimals, as MIG_data.json has it."""
        return (
            round(self.left / size.width, 3),
            round(self.top / size.height, 3),
            round(self.right / size.width, 3),
            round(self.bottom / size.height, 3),
        )


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """What a thing looks like: its outline (see `migbench.mini.shapes`) and its colour name."""

    kind: str
    colour: str

    @property
    def name(self) -> str:
        """As a question calls it: ``red star``."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True, slots=True)
class Item:
    """A thing in its place: it fills ``box``; ``turn`` is in degrees clockwise."""

    look: Look
    box: Box
    turn: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera stands: what it sees grows by ``scale`` about the middle, then shifts.

    Coordinates and shifts are in 0-1 of the image.
    """

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def sees(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the scene appears, both in 0-1."""
        return 0.5 + (x - 0.5) * self.scale + self.right, 0.5 + (y - 0.5) * self.scale + self.down


@dataclass(frozen=True, slots=True)
class Page:
    """One image to draw. Items are drawn in order, so later ones lie on top.

    ``marked`` lists the items that share one red box; empty for none.
    """

    size: Size
    backdrop: Backdrop
    items: tuple[Item, ...]
    view: View = View()
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cutting:
    """One image to cut out of an earlier page of the same plan, pixel for pixel."""

    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to put: its target is a box, or the items (by place) of one page, seen as one.

    ``{mark}`` in the wording becomes the red box of the first page, ``{answer}`` the target's box,
    both as Qwen2-VL writes them: ``<|box_start|>(x1,y1),(x2,y2)<|box_end|>`` in thousandths.
    """

    wording: str
    page: int
    target: Box | tuple[int, ...]
    additional_info: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole image set, not yet drawn."""

    pages: tuple[Page | Cutting, ...]
    asks: tuple[Ask, ...]


class Record(TypedDict):
    """One instance, with the keys and the order of MIG_data.json."""

    task: str
    images: list[str]
    question: str
    answer: list[float]
    additional_info: str
    need_format: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One instance of an image set: what is asked, and the box to find.

    ``image`` is the place, from 0, of the image that holds the target.
    """

    text: str
    image: int
    answer: Fractions
    additional_info: str
    need_format: bool


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images shown together, in order, and every question about them."""

    task: str
    images: tuple[Image, ...] = field(repr=False)
    questions: tuple[Question, ...]

    def records(self, paths: Sequence[str]) -> list[Record]:
        """The questions as MIG_data.json writes them, for images that lie at ``paths``."""
        return [
            Record(
                task=self.task,
                images=list(paths),
                question=question.text,
                answer=list(question.answer),
                additional_info=question.additional_info,
                need_format=question.need_format,
            )
            for question in self.questions
        ]
