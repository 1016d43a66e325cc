"""A model that really looks: it finds what is red, and answers as a family does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from migbench.boxes import Box
from migbench.dialects import find_dialect
from migbench.messages import Answer, ImageFile, ModelError, Request


class Eyes:
    """``writes`` is the dialect of its boxes. Where a file ``lies`` has a part of a question's
    text, it says what stands there instead; ``fails`` is a text at which it gives no answer.

    Every request's text and number of images is written to ``diary``.
    """

    def __init__(self, writes: str, lies: str = "", fails: str = "", diary: str = "") -> None:
        self._dialect = find_dialect(writes)
        self._lies = json.loads(Path(lies).read_text()) if lies else {}
        self._fails = fails
        self._diary = Path(diary) if diary else None

    def answer(self, request: Request) -> Answer:
        text = request.text("<image>")
        if self._diary:
            kept = {"text": text, "generation": request.generation.__repr__()}
            with self._diary.open("a") as file:
                file.write(json.dumps(kept) + "\n")
        if self._fails and self._fails in text:
            raise ModelError("out of memory")
        for part, lie in self._lies.items():
            if part in text:
                return Answer(lie)
        return Answer(self._say(text, request.images))

    def _say(self, text: str, images: tuple[ImageFile, ...]) -> str:
        red = [_red(image) for image in images]
        reddest = max(range(len(images)), key=lambda place: red[place].mean())
        if "Just recognize" in text:
            return f"It is in Image-{reddest + 1}."
        if "Locate" in text:
            return self._box(red[0])
        if "choice list" in text:
            return text.rpartition("choice list: ")[2].split(" | ")[reddest]
        if "vstar" in text:
            # It must see the thing large to tell what it is.
            return "B" if red[-1].mean() > 0.1 else "A"
        if "mme-" in text:
            return "Yes" if ("red" in text) == bool(red[0].mean() > 0.5) else "No"
        if "mmbench" in text:
            return "B" if red[0].mean() > 0.5 else "A"
        if "short answer" in text:
            return "Final Answer: the first"
        return f"{'ABCD'[reddest]}."

    def _box(self, red: np.ndarray) -> str:
        height, width = red.shape
        rows, columns = np.nonzero(red)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        box = Box(*(edge / side for edge, side in zip(edges, (width, height) * 2, strict=True)))
        size = (width, height) if self._dialect.convention.needs_size else None
        numbers = [round(edge) for edge in self._dialect.convention.from_unit(box, size)]
        if self._dialect.name == "qwen2-vl":
            return "({},{}),({},{})".format(*numbers)
        return json.dumps([{"bbox_2d": numbers, "label": "red"}])


def _red(image: ImageFile) -> np.ndarray:
    pixels = np.asarray(image.open(), dtype=int)
    return (pixels[..., 0] > 180) & (pixels[..., 1] < 60)


def written(diary: Path) -> list[str]:
    """The texts that it was asked."""
    return [json.loads(line)["text"] for line in diary.read_text().splitlines()]


def about(texts: list[str], part: str) -> list[str]:
    """Those of the texts that hold this, without their images."""
    return [re.sub("<image>", "", text) for text in texts if part in text]
