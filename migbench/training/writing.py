"""Writing a benchmark's annotations as conversations, in the format of MGrounding-630k."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from migbench.data.annotations import Instance, read_annotations
from migbench.training.answers import converse
from migbench.training.conversations import Conversation, Target

CONVERSATIONS = "conversations.json"


def write_conversations(annotations: Path, *, seed: int = 0) -> Path:
    """Write what an annotation file asks as conversations beside it; return the new file.

    One conversation an image set, an exchange for each of its questions, in an order drawn by the
    seed. The images are shown with the first.
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
        questions = [(asked[place].question, Target(asked[place].box)) for place in order]
        yield converse(f"{task}-{asked[0].image_set}", task, images, questions)
