"""What an export says of the run that it came from."""

from __future__ import annotations

from migbench.reporting.tables import run_label
from migbench.scoring import coverage_of
from migbench.scoring.scored_run import ScoredRun


def facts_of(scored: ScoredRun) -> dict[str, str | int]:
    """How the run was made and scored, without which its figures mean nothing.

    It was asked ``n`` of the annotation file's ``N`` instances.
    """
    scores = scored.scores
    coverage = coverage_of(scores)
    return {
        "model": scores.model,
        "run": run_label(scores),
        "n": coverage.asked,
        "N": coverage.of,
        "annotations": scores.annotations.label,
        "annotations_content_sha256": scored.annotations.content_sha256,
        "evaluator": scores.evaluator,
        "strategy": scores.strategy,
        "prompts": scores.prompts,
        "protocol": scores.protocol,
        "corrections": scores.corrections,
        "migbench": scored.run.manifest.environment.migbench,
    }
