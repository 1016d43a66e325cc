"""Scored runs to draw: two models on MIG-Mini, as if it were the paper's annotation file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from migbench.data.annotations import Annotations, read_annotations
from migbench.mini import render
from migbench.reporting.plots.subjects import Plot, make_plot
from migbench.runs.answer_lines import AnswerLine, encode_line
from migbench.runs.answers_file import ANSWERS
from migbench.runs.store import Run
from migbench.scoring import DifficultySplit, Level, Rule
from migbench.scoring.difficulty import count_levels
from migbench.scoring.scored_run import ScoredRun, score_run
from support.answer_lines import with_answer
from support.synthetic_runs import knowing, stored

MODELS = {"a": "llava-onevision-7b", "b": "mplug-owl3"}
"""Profiles of which a row is published, directly and (of the second) by chain of thought."""


@dataclass(frozen=True)
class Folder:
    """A folder of runs, by names such as ``a-direct``."""

    path: Path
    annotations: Annotations

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    def scored(self, name: str, **options: object) -> ScoredRun:
        return score_run(Run(self[name]), **options)  # type: ignore[arg-type]

    def plot(self, *names: str, **options: object) -> Plot:
        """What is to be drawn of these runs."""
        return plot_of(self, [(name, self.scored(name)) for name in names], **options)


def plot_of(folder: Folder, scored: list[tuple[str, ScoredRun]], **options: object) -> Plot:
    return make_plot(
        [folder[name] for name, _ in scored],
        [run for _, run in scored],
        **options,  # type: ignore[arg-type]
    )


def make_runs(folder: Path) -> Folder:
    """Runs of two models, each directly and by two chains of thought.

    The direct ones are there a second time, with what they have cost.
    """
    render(folder / "mini", per_task=6)
    annotations = read_annotations(folder / "mini" / "MIG_mini.json")
    named = replace(annotations, version="original")
    for place, (letter, model) in enumerate(MODELS.items()):
        for shift, strategy in enumerate(("direct", "cot", "mcot")):
            stored(
                folder / f"{letter}-{strategy}",
                named,
                model,
                strategy,
                knowing((place + shift) % 3),
            )
    for letter in MODELS:
        rewritten(
            folder / f"{letter}-direct",
            folder / f"{letter}-priced",
            lambda line: with_answer(line, prompt_tokens=700, completion_tokens=50),
            wall_seconds=20.0,
        )
    return Folder(folder, annotations)


def rewritten(
    source: Path, out: Path, change: Callable[[AnswerLine], AnswerLine | None], **manifest: object
) -> Path:
    """A copy of a run with other answers; those that become None are left out."""
    out.mkdir()
    run = Run(source)
    changed = msgspec.structs.replace(run.manifest, **manifest)
    (out / "run.json").write_bytes(msgspec.json.encode(changed))
    lines = [line for each in run.lines.values() if (line := change(each)) is not None]
    (out / ANSWERS).write_bytes(b"".join(encode_line(line) + b"\n" for line in lines))
    return out


def split_of(annotations: Annotations) -> DifficultySplit:
    """A split of these annotations that goes by the place in the file."""
    levels = {
        each.id: (Level.EASY, Level.EASY, Level.MEDIUM, Level.HARD)[each.index % 4]
        for each in annotations.instances
    }
    return DifficultySplit(
        version=annotations.version,
        content_sha256=annotations.content_sha256,
        rule=Rule(name="made-up", about="by place"),
        runs=(),
        counts=count_levels(levels.values()),
        levels=levels,
    )
