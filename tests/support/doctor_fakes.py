"""A model that knows the doctor's scenes, and answers about them with the faults it is told."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from migbench.boxes import Box, Convention, Order
from migbench.checks.doctor.conventions import frame_text, scale_text
from migbench.cli.model_options import _frame
from migbench.messages import Answer, ModelError, Request
from migbench.util.hashing import short_hash

ADAPTER = f"{Path(__file__)}:Fake"

_TAG = re.compile(r"<\|\w+\|>")


class Scene(NamedTuple):
    question: str
    image: int
    """From 0, the one that holds the target."""
    box: Box


@cache
def scenes_in(folder: Path) -> dict[tuple[str, ...], list[Scene]]:
    """By image set. In the order of the file, a set's questions are about its images in order."""
    sets: dict[tuple[str, ...], list[Scene]] = {}
    for record in json.loads((folder / "doctor.json").read_text()):
        group = sets.setdefault(tuple(record["images"]), [])
        question = _TAG.sub("", record["question"]).strip()
        group.append(Scene(question, len(group), Box(*record["answer"])))
    return sets


class Fake:
    """Answers rightly in a convention, but for what its settings say.

    ``says`` is what it answers around ``{box}``; the first ``silent`` questions get ``instead``.
    ``looks`` is how it mixes up the images of a set. ``noise`` is the standard deviation of every
    edge, in 0-1. ``y1`` and ``y2`` multiply these edges.
    """

    def __init__(
        self,
        *,
        order: str = "xyxy",
        scale: str = "1000",
        frame: str = "original",
        offset: float = 0.0,
        says: str = "({0},{1}),({2},{3})",
        digits: int | None = None,
        y1: float = 1.0,
        y2: float = 1.0,
        noise: float = 0.0,
        looks: str = "right",
        silent: float = 0.0,
        instead: str = "",
        truncated: bool = False,
        fails: bool = False,
    ) -> None:
        number = None if scale == "pixels" else float(scale)
        self.convention = Convention(Order(order), number, _frame(frame), offset)
        self.says, self.instead, self.silent = says, instead, silent
        self.digits = digits if digits is not None else 3 * (number == 1)
        self.scaling = (1.0, y1, 1.0, y2)
        self.noise, self.looks = noise, looks
        self.truncated, self.fails = truncated, fails

    def answer(self, request: Request) -> Answer:
        text = _TAG.sub("", request.text())
        names = tuple(image.name for image in request.images)
        path = request.images[0].path
        assert path is not None
        scenes = scenes_in(path.parent.parent)[names]
        asked = next(scene for scene in scenes if scene.question in text)
        seed = int(short_hash(*names, asked.question), 16)
        rng = np.random.default_rng(seed)
        if rng.random() < self.silent:
            if self.fails:
                raise ModelError("the server is on fire")
            return Answer(self.instead, truncated=self.truncated)
        places = {
            "right": asked.image,
            "first": 0,
            "last": len(names) - 1,
            "reversed": len(names) - 1 - asked.image,
        }
        seen = scenes[places[self.looks]]
        box = np.array(seen.box) * self.scaling + rng.normal(0, self.noise, 4) * bool(self.noise)
        size = request.images[seen.image].size()
        numbers = self.convention.from_unit(Box(*box.tolist()), size)
        return Answer(self.says.format(*(f"{number:.{self.digits}f}" for number in numbers)))


def settings_of(convention: Convention) -> dict[str, Any]:
    """The settings with which the fake answers in a convention."""
    return {
        "order": convention.order.value,
        "scale": scale_text(convention.scale),
        "frame": frame_text(convention.frame),
        "offset": convention.offset,
    }
