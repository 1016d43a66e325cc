"""The ``model-index`` of a model card on the Hugging Face hub, as YAML for its front matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from migbench.data.download import REPOSITORY
from migbench.errors import UsageError
from migbench.reporting.export import Wishes
from migbench.reporting.export.facts import facts_of
from migbench.reporting.tables import run_label
from migbench.reporting.tables.layouts import at_half
from migbench.scoring import coverage_of
from migbench.scoring.scored_run import ScoredRun
from migbench.scoring.scorer import HIT_AT
from migbench.scoring.summary import Figures
from migbench.scoring.uncertainty import LEVEL
from migbench.tasks import find_task
from migbench.util.files import replaced


def write(scored: ScoredRun, out: Path, wishes: Wishes) -> Sequence[str]:
    """Write the file ``out``: the mean of the tasks, then every task, each with its interval.

    Tasks with unanswered targets are left out, and so is then the mean. Raises `UsageError` where
    nothing is left, and for a run that was not asked all instances, unless a partial one is wished.
    """
    coverage = coverage_of(scored.scores)
    if coverage.is_part and not wishes.partial:
        raise UsageError(
            f"{scored.run.folder}: was asked {coverage} instances, and a model card states figures "
            "on all of them; --partial writes these figures, marked as such"
        )
    metrics = list(_metrics(scored))
    if not metrics:
        raise UsageError(
            f"{scored.run.folder}: no task has all its answers yet; go on with the run, or count "
            "what is missing as misses with --accept-model-errors"
        )
    result: dict[str, Any] = {
        "task": {"type": "image-text-to-text", "name": "Multi-image grounding"},
        "dataset": _dataset(scored),
        "metrics": metrics,
    }
    if wishes.source_url is not None:
        result["source"] = {"name": "migbench", "url": wishes.source_url}
    content = {"model-index": [{"name": run_label(scored.scores), "results": [result]}]}
    with replaced(out) as partial:
        partial.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100), "utf-8"
        )
    return [f"{len(metrics)} metrics, for the front matter of a model card."]


def _dataset(scored: ScoredRun) -> dict[str, Any]:
    """Which annotation file it was, and how it was asked and scored.

    Only the paper's own file lies on the hub under the benchmark's name.
    """
    source = scored.scores.annotations
    facts = facts_of(scored)
    del facts["model"], facts["run"]
    if source.version == "original":
        kind, name = REPOSITORY, "MIG-Bench"
    elif source.version == "custom":
        kind = name = source.label
    else:
        kind, name = f"MIG-Bench-{source.version}", f"MIG-Bench ({source.version} annotations)"
    return {"type": kind, "name": name, "split": "test", "args": facts}


def _metrics(scored: ScoredRun) -> list[dict[str, Any]]:
    scores = scored.scores
    named: list[tuple[str, Figures]] = []
    if len(scores.tasks) > 1:
        named.append((f"Acc@{HIT_AT}, mean of {scores.macro.tasks} tasks", scores.macro))
    named += [(f"Acc@{HIT_AT}, {find_task(key).title}", one) for key, one in scores.tasks.items()]
    return [
        {
            "type": "accuracy",
            "name": name,
            "value": round(figures.at_50, 2),
            "args": _args(figures),
        }
        for name, figures in named
        if figures.at_50 is not None
    ]


def _args(figures: Figures) -> dict[str, Any]:
    args: dict[str, Any] = {"iou": HIT_AT, "targets": figures.n, "clusters": figures.clusters}
    if figures.available is not None and figures.n < figures.available:
        args["of"] = figures.available
    if interval := at_half(figures):
        args[f"interval_{round(100 * LEVEL)}"] = [round(interval.low, 2), round(interval.high, 2)]
        args["standard_error"] = round(interval.error, 2)
    return args
