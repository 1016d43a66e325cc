"""V*Bench as several images (appendix F of the paper), for lmms-eval's task file.

The image is cut into parts, which are an image set. Three rounds: which part holds what the
question is about; where in that part; and then the question itself, with the whole image and the
region that was found. Where no part is named or no box read, the whole image alone is shown, and
the share of questions with a region stands beside the accuracy. The paper publishes neither its
cut nor its wording; these are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

from migbench.asking.mentions import image_mentions
from migbench.asking.questions import Purpose
from migbench.dialects import parse
from migbench.integrations.lmms_eval.declared import declared_dialect
from migbench.integrations.lmms_eval.failures import failure
from migbench.integrations.lmms_eval.suites.grounding import chat, map_undecoded, parts, stored_size
from migbench.messages import Size
from migbench.messages.image_decoding import flatten

Document = Mapping[str, Any]
Options = Mapping[str, Any]

LONGEST_PART = 1024
"""Pixels along a side, above which an image is cut."""
MOST_PARTS = 3
"""Along a side: at most nine images are shown together."""
LETTER = "Answer with the option's letter from the given choices directly."
Rounds = tuple[list[dict[str, Any]] | None, bool, Any, Any]


class Region(NamedTuple):
    """An area of an image in whole pixels; right and bottom are outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(self.right - self.left, self.bottom - self.top)


def cut(size: Size) -> list[Region]:
    """An image's parts, row by row, of nearly equal size.

    >>> [tuple(part) for part in cut(Size(2000, 900))]
    [(0, 0, 1000, 900), (1000, 0, 2000, 900)]
    """
    columns, rows = (min(MOST_PARTS, ceil(side / LONGEST_PART)) for side in size)
    across = [size.width * column // columns for column in range(columns + 1)]
    down = [size.height * row // rows for row in range(rows + 1)]
    return [
        Region(left, top, right, bottom)
        for top, bottom in pairwise(down)
        for left, right in pairwise(across)
    ]


def vstar_text(document: Document, lmms_eval_specific_kwargs: Options | None = None) -> str:
    """The question with its options, as the last round asks it."""
    text: str = document["text"].strip()
    return text if text.endswith(LETTER) else f"{text}\n{LETTER}"


def vstar_images(document: Document) -> list[Any]:
    """The whole image, decoded."""
    return [flatten(document["image"])]


def vstar_messages(
    document: Document,
    lmms_eval_specific_kwargs: Options | None = None,
    round_idx: int | None = None,
    previous_output: Sequence[str] = (),
    previous_round_info: Any = None,
) -> list[dict[str, Any]] | Rounds:
    """A round's chat; after the first, as lmms-eval wants it of rounds that follow."""
    (image,) = vstar_images(document)
    if not round_idx:
        return _first(document, image)
    shown = _next(document, image, previous_output)
    return shown, shown is None, previous_output, None


def _first(document: Document, image: Any) -> list[dict[str, Any]]:
    regions = cut(Size(*image.size))
    if len(regions) == 1:
        return _locate(document, image)
    names = ", ".join(f"Image-{number}" for number in range(1, len(regions) + 1))
    text = (
        "These images are the parts of one picture, row by row. Find what this question is about: "
        f"{_question(document)} Just recognize and tell me which image is it in. "
        f"Answer from: {names}"
    )
    pictures = [image.crop(region) for region in regions]
    shown = parts(declared_dialect().dialect, text, Purpose.DESCRIBE, len(pictures))
    return chat(shown, pictures)


def _next(document: Document, image: Any, said: Sequence[str]) -> list[dict[str, Any]] | None:
    """The chat that follows these answers; None after the last."""
    size = Size(*image.size)
    rounds = _grounding_rounds(size, said)
    if len(said) > rounds:
        return None
    if len(said) < rounds:
        part = _part(size, said)
        assert part is not None
        return _locate(document, image.crop(part))
    region = _region(size, said)
    pictures = [image] if region is None else [image, image.crop(region)]
    about = "" if region is None else "The second image shows a region of the first one. "
    dialect = declared_dialect().dialect
    shown = parts(dialect, about + vstar_text(document), Purpose.DESCRIBE, len(pictures))
    return chat(shown, pictures)


def _grounding_rounds(size: Size, said: Sequence[str]) -> int:
    """How many rounds come before the last, given the first answer."""
    if len(cut(size)) == 1:
        return 1
    return 1 if _part(size, said) is None else 2


def _part(size: Size, said: Sequence[str]) -> Region | None:
    """The part that the first answer names, if any."""
    regions = cut(size)
    if len(regions) == 1:
        return regions[0]
    named = (mention.image for mention in image_mentions(said[0]))
    return next((regions[image] for image in named if image < len(regions)), None)


def _locate(document: Document, part: Any) -> list[dict[str, Any]]:
    text = f"Locate what this question is about: {_question(document)} "
    return chat(parts(declared_dialect().dialect, text, Purpose.DIRECT, 1), [part])


def _region(size: Size, said: Sequence[str]) -> Region | None:
    """Where in the image the box lies that was found, with half its size around it."""
    part = _part(size, said)
    if part is None:
        return None
    answer = said[_grounding_rounds(size, said) - 1]
    parsed = parse(declared_dialect().dialect, answer, sizes=[part.size])
    found = parsed.select_box(None)
    if found is None or not found.box.repaired().has_area:
        return None
    box, (width, height) = found.box.repaired(), part.size
    wide, high = (box.x2 - box.x1) * width / 2, (box.y2 - box.y1) * height / 2
    return Region(
        max(0, int(part.left + box.x1 * width - wide)),
        max(0, int(part.top + box.y1 * height - high)),
        min(size.width, ceil(part.left + box.x2 * width + wide)),
        min(size.height, ceil(part.top + box.y2 * height + high)),
    )


def _question(document: Document) -> str:
    """The question without its options."""
    question: str = document["text"].partition("(A)")[0].strip()
    return question


def vstar_documents(records: Any) -> Any:
    """The rows, with the sizes by which answers are placed once the images are put aside."""
    return map_undecoded(records, lambda row: {"size": list(stored_size(row["image"]))})


def vstar_located(document: Document, said: Sequence[str]) -> float | None:
    """1 where a region was found, 0 where the whole image alone was shown; None on a failure."""
    if any(map(failure, said)):
        return None
    return float(_region(Size(*document["size"]), said) is not None)
