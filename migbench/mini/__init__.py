"""MIG-Mini: a small drawn replica of MIG-Bench's ten tasks, in the same file format.

It is a test bench. Simple shapes on soft backgrounds, exact answers, images of many sizes: a
mistake in coordinates, image order, prompts or image handling anywhere in an evaluation shows up as
a lower accuracy, and a model of a few million parameters can learn it. It is not a benchmark:
**scores on MIG-Mini say nothing about MIG-Bench**, its photographs, or models at large.

``render`` writes files::

    from pathlib import Path
    from migbench.mini import render

    render(Path("mini"), per_task=10, seed=0)      # mini/MIG_mini.json, mini/images/<task>/...

``scene`` and ``scenes`` draw the same image sets in memory, for training::

    for image_set in scenes("region", seed=1, split="train"):
        image_set.images          # the images, in order
        image_set.questions       # text, place of the target's image, answer in 0-1, ...

How it is made: a task *plans* pages and questions (``differences``, ``repeats``, ``group``,
``reasoning``, ``composites``), ``drawing`` turns the plan into pixels and measures the answers from
them, ``render`` writes. ``catalogue`` lists the tasks, ``splits`` says how test and training scenes
differ, ``backdrops`` how the light tells positions.

Bytes are the same on every run with the same versions of numpy and Pillow.
"""

from __future__ import annotations

from migbench.mini.catalogue import TASKS, plan, scene, scenes
from migbench.mini.render import FILE_NAME, render
from migbench.mini.scene import ImageSet, Plan, Question, Record
from migbench.mini.splits import SPLITS, Split

__all__ = [
    "FILE_NAME",
    "SPLITS",
    "TASKS",
    "ImageSet",
    "Plan",
    "Question",
    "Record",
    "Split",
    "plan",
    "render",
    "scene",
    "scenes",
]
