"""Training examples: MIG-Mini's training scenes, drawn when they are needed.

A source is a sequence without end. Its example number n depends on n and on the source's settings
alone, so that any process can make any example, and a resumed training goes on exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from migbench.boxes import Box
from migbench.errors import UsageError
from migbench.mini import ImageSet, Plan, Question, plan
from migbench.mini.conversations import Conversation, GroundedBox, build_conversation
from migbench.mini.drawing import ask_about, draw_pages
from migbench.mini.group import name_all
from migbench.mini.scene import Page
from migbench.tasks import find_task
from migtrain.miniature.all_at_once import build_all_at_once
from migtrain.miniature.cell_labels import LabelledObject, objects_of

if TYPE_CHECKING:
    from PIL.Image import Image

SINGLE = "single_grounding"
"""The task of one image: an object described in words, to be found in it."""
GROUP = "group_grounding"

_PLANS_TRIED = 16


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation and its images, decoded, in RGB.

    ``objects`` are those of each image where they are known, as in drawn scenes.
    """

    conversation: Conversation
    images: tuple[Image, ...]
    objects: tuple[tuple[LabelledObject, ...], ...] = ()


class SceneSource:
    """Scenes of MIG-Mini's training split, each drawn for its example.

    ``turns`` bounds the questions about one scene: more than one make a conversation of several
    rounds, which costs one drawing. Which are asked, and in what order, is drawn. With
    ``at_once`` one round asks for all targets together. ``max_objects`` bounds what an image shows
    where objects are found by their names. Boxes are written in steps of ``box_step`` thousandths.
    """

    def __init__(
        self,
        task: str,
        *,
        seed: int,
        turns: int = 1,
        at_once: bool = False,
        max_objects: int | None = None,
        box_step: int = 1,
    ) -> None:
        """Scenes of one task. Raises `UsageError` for an unknown one, or one not asked at once."""
        if at_once and (task == SINGLE or find_task(task).all_at_once is None):
            raise UsageError(f"task {task}: its targets are not asked for at once")
        self._at_once = at_once
        self._task = task
        self._seed = seed
        self._turns = turns
        self._max_objects = max_objects
        self._box_step = box_step
        counts = [len(self.plan(number).pages) for number in range(_PLANS_TRIED)]
        self._images = round(sum(counts) / len(counts))

    def images(self, number: int) -> int:
        """What the task's scenes show on average."""
        return self._images

    def plan(self, number: int) -> Plan:
        """What scene ``number`` will show."""
        return training_plan(self._task, number, self._seed, self._max_objects)

    def example(self, number: int) -> Example:
        """Draw one scene and ask about it."""
        plan = self.plan(number)
        drawn = draw_pages(plan)
        image_set = ask_about(plan, self._task, drawn, need_format=False)
        objects = tuple(map(tuple, objects_of(plan, drawn)))
        names = [f"{self._task}/{number}_{place}.png" for place in range(len(image_set.images))]
        if self._at_once:
            asked = [_asked(question) for question in image_set.questions]
            identity = f"{self._task}-all-{number}"
            conversation = build_all_at_once(identity, self._task, names, asked, self._box_step)
        else:
            rng = np.random.default_rng([self._seed, number])
            chosen = rng.permutation(len(image_set.questions))[: self._turns]
            conversation = scene_conversation(
                image_set, self._task, str(number), names, chosen.tolist(), self._box_step
            )
        return Example(conversation, image_set.images, objects)


def scene_conversation(
    image_set: ImageSet,
    kind: str,
    identity: str,
    names: Sequence[str],
    chosen: Sequence[int],
    box_step: int = 1,
) -> Conversation:
    """The chosen questions (places, in the order to ask them) about a drawn scene."""
    asked = [_asked(image_set.questions[place]) for place in chosen]
    return build_conversation(f"{kind}-{identity}", kind, names, asked, box_step)


def _asked(question: Question) -> tuple[str, GroundedBox]:
    return question.text, GroundedBox(Box(*question.answer), question.image)


def training_plan(task: str, number: int, seed: int, max_objects: int | None = None) -> Plan:
    """What scene ``number`` of a task shows and asks when it is trained on.

    Where objects are found by their names, all of them are asked for, not only those of a test; an
    image then shows at most ``max_objects``.
    """
    if task not in (SINGLE, GROUP):
        return plan(task, number, seed=seed, split="train")
    group = plan(GROUP, number, seed=seed, split="train")
    pages = [page for page in group.pages if isinstance(page, Page)]
    if task == SINGLE:
        pages = [pages[number % len(pages)]]
    pages = [replace(page, items=page.items[:max_objects]) for page in pages]
    rng = np.random.default_rng([seed, number, len(pages)])
    return Plan(tuple(pages), name_all(rng, pages))
