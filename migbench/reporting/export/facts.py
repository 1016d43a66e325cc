"""What an export says of the run that it came from."""

from __future__ import annotations

from migbench.scoring.scored_run import ScoredRun


def facts_of(scored: ScoredRun) -> dict[str, str]:
    """How the run was made and scored, without which its figures mean nothing."""
    scores = scored.scores
    return {
        "model": scores.model,
        "annotations": scores.annotations.label,
        "annotations_content_sha256": scored.annotations.content_sha256,
        "evaluator": scores.evaluator,
        "strategy": scores.strategy,
        "prompts": scores.prompts,
        "protocol": scores.protocol,
        "corrections": scores.corrections,
        "migbench": scored.run.manifest.environment.migbench,
    }
