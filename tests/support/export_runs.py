"""A run on MIG-Mini with hits, misses, answers that cannot be read, and targets without any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from migbench.boxes import Box
from migbench.data.annotations import read_annotations
from migbench.data.images import ImageFolder
from migbench.mini import render
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.store import Run
from migbench.scoring import SampleScore
from migbench.scoring.scored_run import ScoredRun, score_run
from support.answer_lines import with_answer
from support.plot_runs import rewritten
from support.synthetic_runs import knowing, stored

UNREADABLE = 3
"""Every so many answers, one has no box."""


@dataclass(frozen=True)
class Exportable:
    """Folders of runs (``whole``; ``part``, which lacks one answer), and of the images."""

    folder: Path
    images: ImageFolder

    def scored(self, name: str = "whole", **options: object) -> ScoredRun:
        return score_run(Run(self.folder / name), **options)  # type: ignore[arg-type]


def make_run(folder: Path) -> Exportable:
    render(folder / "mini", per_task=3)
    annotations = read_annotations(folder / "mini" / "MIG_mini.json")
    stored(folder / "plain", annotations, "llava-onevision-7b", "direct", knowing(0))
    number = 0

    def some_unreadable(line: AnswerLine) -> AnswerLine:
        nonlocal number
        number += 1
        return line if number % UNREADABLE else with_answer(line, text="=no box")

    rewritten(folder / "plain", folder / "whole", some_unreadable)
    first = annotations.instances[0].id
    rewritten(
        folder / "whole", folder / "part", lambda line: None if line.question == first else line
    )
    return Exportable(folder, ImageFolder(folder / "mini"))


def with_boxes(scored: ScoredRun, *boxes: Box) -> ScoredRun:
    """The run with other predictions for its first targets."""

    def changed(sample: SampleScore, box: Box) -> SampleScore:
        return replace(sample, prediction=replace(sample.prediction, box=box, outcome=None))

    first = [changed(sample, box) for sample, box in zip(scored.samples, boxes, strict=False)]
    return replace(scored, samples=(*first, *scored.samples[len(first) :]))
