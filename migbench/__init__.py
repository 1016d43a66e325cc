"""migbench: score vision-language models on MIG-Bench, the multi-image grounding benchmark.

One flow, left to right::

    task -> instance -> question -> turn -> request -> answer -> reading -> outcome -> scores

Score a model::

    from pathlib import Path
    import migbench

    model = migbench.resolve_model("migician")
    plan = migbench.make_plan(model, migbench.locate_data(Path("MIG")))
    migbench.execute(plan, Path("results/migician"))
    print(migbench.score_run(migbench.Run(Path("results/migician"))).scores.macro)

Names below are loaded when first used, so that importing migbench costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migbench.asking.questions import Question, Turn
    from migbench.boxes import Box, Convention, iou
    from migbench.data.annotations import Annotations, Instance, read_annotations
    from migbench.data.images import locate_data
    from migbench.dialects import Dialect, ParsedAnswer, ask, find_dialect, parse
    from migbench.errors import AdapterError, DataError, MigbenchError, ModelError, UsageError
    from migbench.messages import Adapter, Answer, Generation, ImageFile, Request
    from migbench.models.resolving import Model, Overrides, Profile, resolve_model
    from migbench.runs.execution import execute, execute_async
    from migbench.runs.plan import Plan, make_plan
    from migbench.runs.store import Run
    from migbench.scoring import Flag, Outcome, Scores
    from migbench.scoring.scored_run import ScoredRun, score_run
    from migbench.tasks import TaskSpec, load_tasks

_SURFACE = {
    "migbench.boxes": ("Box", "Convention", "iou"),
    "migbench.data.annotations": ("Annotations", "Instance", "read_annotations"),
    "migbench.data.images": ("locate_data",),
    "migbench.dialects": ("Dialect", "ParsedAnswer", "ask", "find_dialect", "parse"),
    "migbench.errors": (
        "AdapterError",
        "DataError",
        "MigbenchError",
        "ModelError",
        "UsageError",
    ),
    "migbench.messages": ("Adapter", "Answer", "Generation", "ImageFile", "Request"),
    "migbench.models.resolving": ("Model", "Overrides", "Profile", "resolve_model"),
    "migbench.asking.questions": ("Question", "Turn"),
    "migbench.runs.execution": ("execute", "execute_async"),
    "migbench.runs.plan": ("Plan", "make_plan"),
    "migbench.runs.store": ("Run",),
    "migbench.scoring": ("Flag", "Outcome", "Scores"),
    "migbench.scoring.scored_run": ("ScoredRun", "score_run"),
    "migbench.tasks": ("TaskSpec", "load_tasks"),
}
_HOME = {name: module for module, names in _SURFACE.items() for name in names}

__all__ = [
    "Adapter",
    "AdapterError",
    "Annotations",
    "Answer",
    "Box",
    "Convention",
    "DataError",
    "Dialect",
    "Flag",
    "Generation",
    "ImageFile",
    "Instance",
    "MigbenchError",
    "Model",
    "ModelError",
    "Outcome",
    "Overrides",
    "ParsedAnswer",
    "Plan",
    "Profile",
    "Question",
    "Request",
    "Run",
    "ScoredRun",
    "Scores",
    "TaskSpec",
    "Turn",
    "UsageError",
    "ask",
    "execute",
    "execute_async",
    "find_dialect",
    "iou",
    "load_tasks",
    "locate_data",
    "make_plan",
    "parse",
    "read_annotations",
    "resolve_model",
    "score_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
