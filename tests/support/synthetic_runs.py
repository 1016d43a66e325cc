"""Runs with made-up answers, of two models, each directly and by chain of thought."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from migbench.data.annotations import Annotations, Instance
from migbench.models.resolving import resolve_model
from migbench.runs.environment import new_manifest
from migbench.runs.opening import open_run
from migbench.runs.plan import DEFAULT_PROMPTS, source_of
from migbench.runs.settings import Settings
from migbench.runs.store import Run
from migbench.scoring import PROTOCOLS
from migbench.tasks import task_hashes
from support.answer_lines import answer_line

Knows = Callable[[Instance], bool]


def stored(
    out: Path, annotations: Annotations, model: str, strategy: str, knows: Knows, limit: int = 10**6
) -> Run:
    """A run whose answers are the truth where the model ``knows``, and a corner elsewhere.

    A chain of thought has an answer before it, which describes something.
    """
    tasks = {key: value for key, value in task_hashes().items() if annotations.counts[key]}
    settings = Settings(
        model=resolve_model(model),
        strategy=strategy,
        prompts=DEFAULT_PROMPTS[strategy].value,
        annotations=source_of(annotations),
        tasks=tasks,
    )
    with open_run(out, new_manifest(settings, len(annotations.instances))) as store:
        for instance in annotations.instances[:limit]:
            edges = PROTOCOLS["standard"].truth(instance) if knows(instance) else (0, 0, 0, 0)
            box = ",".join(f"{edge:.6f}" for edge in edges)
            answers = ["a thing"] * (strategy != "direct") + [f"[{box}]"]
            for turn, text in enumerate(answers):
                store.append(answer_line(instance.id, turn=turn, text=text))
        store.finish("complete")
    return Run(out)


ORDER = (
    ("llava-onevision-7b", "direct"),
    ("llava-onevision-7b", "cot"),
    ("mplug-owl3", "direct"),
    ("mplug-owl3", "cot"),
)
"""Two profiles whose dialect counts in 0-1, so that answers can be exact."""


def knowing(place: int) -> Knows:
    """What the run at this place knows: every combination of the four occurs."""
    return lambda instance: bool(instance.index >> place & 1)


def four_runs(folder: Path, annotations: Annotations) -> tuple[Run, ...]:
    """The four baselines of a difficulty split, in its order."""
    return tuple(
        stored(folder / f"run{place}", annotations, *named, knowing(place))
        for place, named in enumerate(ORDER)
    )
