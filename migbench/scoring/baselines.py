"""Four baseline runs become a difficulty split: two models, each direct and by chain of thought.

The rule is in `migbench.scoring.difficulty`; here is what the runs must be for it to mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from migbench.errors import UsageError
from migbench.scoring.difficulty import (
    LITERAL,
    Baseline,
    DifficultySplit,
    Rule,
    count_levels,
    hash_answers,
    level,
)
from migbench.scoring.outcomes import Outcome
from migbench.scoring.scored_run import ScoredRun

ORDER = "A, A by chain of thought, B, B by chain of thought"


def make_split(scored: Sequence[ScoredRun], rule: Rule = LITERAL) -> DifficultySplit:
    """Every instance's level, from the four runs A, A+cot, B, B+cot, scored under one protocol.

    Raises `UsageError`, naming the run, for runs in another order or number, on different
    annotation files, under different protocols or forms, or without an answer for every instance.
    """
    _check_order(scored)
    for each in scored:
        _check_alike(scored[0], each)
        _check_complete(each)
    levels = {}
    for samples in zip(*(each.samples for each in scored), strict=True):
        instance = samples[0].instance
        direct_a, chain_a, direct_b, chain_b = (sample.iou for sample in samples)
        levels[instance.id] = level(
            images=len(instance.images),
            hits=[sample.outcome is Outcome.HIT for sample in samples],
            gain=rule.gain((chain_a - direct_a, chain_b - direct_b)),
            rule=rule,
        )
    return DifficultySplit(
        version=scored[0].annotations.version,
        content_sha256=scored[0].annotations.content_sha256,
        rule=rule,
        runs=tuple(map(_baseline, scored)),
        counts=count_levels(levels.values()),
        levels=levels,
    )


def _check_order(scored: Sequence[ScoredRun]) -> None:
    if len(scored) != 4:
        raise UsageError(f"a difficulty split needs four runs ({ORDER}), not {len(scored)}")
    models = [each.scores.model for each in scored]
    direct_a, chain_a, direct_b, chain_b = (each.scores.strategy for each in scored)
    paired = models[0] == models[1] != models[2] == models[3]
    if not (paired and direct_a == direct_b == "direct" != chain_a == chain_b):
        found = ", ".join(f"{each.scores.model} ({each.scores.strategy})" for each in scored)
        raise UsageError(
            f"a difficulty split needs the runs {ORDER} (cot twice, or mcot twice); "
            f"these are {found}"
        )


def _check_alike(first: ScoredRun, other: ScoredRun) -> None:
    aspects = {
        "on different annotation files": (
            f"{each.annotations.version} {each.annotations.identity.short}"
            for each in (first, other)
        ),
        "scored under different protocols": (each.scores.protocol for each in (first, other)),
        "asked in different forms": (each.scores.evaluator for each in (first, other)),
    }
    for aspect, (one, another) in aspects.items():
        if one != another:
            raise UsageError(
                f"{first.run.folder} and {other.run.folder} are {aspect} "
                f"({one}; {another}); a difficulty split needs four runs alike"
            )


def _check_complete(scored: ScoredRun) -> None:
    scored_targets, known = len(scored.samples), len(scored.annotations.instances)
    if scored_targets != known:
        raise UsageError(
            f"{scored.run.folder}: is on {scored_targets} of the {known} instances of "
            f"{scored.annotations.path.name}; a difficulty split needs all (no --limit, no --tasks)"
        )
    unanswered = [
        each.instance.id for each in scored.samples if each.outcome is Outcome.MODEL_ERROR
    ]
    if unanswered:
        raise UsageError(
            f"{scored.run.folder}: {len(unanswered)} instances have no answer, {unanswered[0]} "
            "first; go on with the run (the command that made it asks them again)"
        )


def _baseline(scored: ScoredRun) -> Baseline:
    scores = scored.scores
    return Baseline(
        run=scored.run.folder.resolve().name,
        model=scores.model,
        strategy=scores.strategy,
        prompts=scores.prompts,
        evaluator=scores.evaluator,
        protocol=scores.protocol,
        corrections=scores.corrections,
        answers=hash_answers(scored.run),
    )
