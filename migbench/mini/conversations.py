"""MIG-Mini as training records: conversations in the format of MGrounding-630k.

A record shows an image set with its first question, and may ask on in further rounds::

    {"id": "…", "images": ["./images/diff/0_0.png", …],
     "conversations": [{"from": "human", "value": "<image><image>Where is …?"},
                       {"from": "gpt", "value": "<|box_start|>(250,100),(999,500)<|box_end|>"}],
     "type": "diff"}

Questions are worded by `migbench.dialects.ask`, as an evaluation words them; answers are boxes in
Qwen2-VL's dialect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from migbench.asking.questions import Purpose, Turn
from migbench.boxes import Box
from migbench.data.annotations import Instance, read_annotations
from migbench.dialects import PromptSet, ask, find_dialect
from migbench.dialects.dialect import wording
from migbench.messages import ImageFile

CONVERSATIONS = "conversations.json"
"""The file's name, beside the annotation file that it is made from."""
DIALECT = "qwen2-vl"
IMAGE = "<image>"
"""Stands in a question where an image is shown."""


@dataclass(frozen=True, slots=True)
class GroundedBox:
    """The true box behind an answer, in 0-1, and the place from 0 of its image, where known."""

    box: Box
    image: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One question and its answer. ``targets`` are the answer's boxes in order, where known."""

    question: str
    answer: str
    targets: tuple[GroundedBox, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One training example. ``images`` are paths below the data folder, in the order shown."""

    id: str
    kind: str
    images: tuple[str, ...]
    rounds: tuple[Round, ...]

    def record(self) -> dict[str, Any]:
        """The conversation as MGrounding-630k writes it."""
        turns = []
        for each in self.rounds:
            turns.append({"from": "human", "value": each.question})
            turns.append({"from": "gpt", "value": each.answer})
        images = [f"./{image}" for image in self.images]
        return {"id": self.id, "images": images, "conversations": turns, "type": self.kind}


def build_conversation(
    identity: str,
    kind: str,
    images: Sequence[str],
    asked: Sequence[tuple[str, GroundedBox]],
    step: int = 1,
) -> Conversation:
    """A conversation about an image set: the first round shows the images, the others ask on.

    ``asked`` holds questions in the data set's wording and what is to be found; boxes are written
    in steps of ``step`` thousandths.
    """
    dialect = find_dialect(DIALECT)
    files = [ImageFile(image) for image in images]
    rounds: list[Round] = []
    for text, target in asked:
        turn = Turn(Purpose.DIRECT, text, tuple(range(len(images))), (0,))
        request = ask(dialect, turn, files)
        question = str(request.parts[-1]) if rounds else request.text(IMAGE)
        rounds.append(Round(question, write_box(target.box, step), (target,)))
    return Conversation(identity, kind, tuple(images), tuple(rounds))


def write_box(box: Box, step: int = 1) -> str:
    """A box in 0-1 as Qwen2-VL writes it: thousandths from 0 to 999, rounded to ``step``.

    >>> write_box(Box(0.25, 0.1, 1.0, 0.5))
    '<|box_start|>(250,100),(999,500)<|box_end|>'
    """
    dialect = find_dialect(DIALECT)
    assert dialect.box is not None
    edges = dialect.convention.from_unit(box)
    x1, y1, x2, y2 = (min(step * round(edge / step), 999) for edge in edges)
    return wording(dialect.box, PromptSet.PAPER).format(x1=x1, y1=y1, x2=x2, y2=y2)


def write_conversations(annotations: Path, *, seed: int = 0) -> Path:
    """Write what an annotation file asks as conversations beside it; return the new file.

    One conversation an image set, a round for each of its questions, in an order drawn by the seed.
    """
    target = annotations.with_name(CONVERSATIONS)
    found = conversations(read_annotations(annotations).instances, seed)
    lines = [json.dumps(each.record(), ensure_ascii=False) for each in found]
    unfinished = target.with_suffix(".json.part")
    unfinished.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8", newline="\n")
    unfinished.replace(target)
    return target


def conversations(instances: Iterable[Instance], seed: int) -> Iterator[Conversation]:
    """One conversation an image set, in the order in which they first occur."""
    sets: dict[tuple[str, ...], list[Instance]] = {}
    for instance in instances:
        sets.setdefault((instance.task, *instance.images), []).append(instance)
    for number, ((task, *images), asked) in enumerate(sets.items()):
        order = np.random.default_rng([seed, number]).permutation(len(asked))
        questions = [(asked[place].question, GroundedBox(asked[place].box)) for place in order]
        yield build_conversation(f"{task}-{asked[0].image_set}", task, images, questions)
