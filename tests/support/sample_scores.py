"""What becomes of one target after one answer."""

from __future__ import annotations

from typing import Any

import msgspec

from migbench.asking.evaluators.polling import polling
from migbench.asking.strategies import find_strategy
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import find_dialect
from migbench.models.corrections import Correction
from migbench.runs.settings import AnnotationSource
from migbench.scoring import (
    PROTOCOLS,
    SampleScore,
    Scorer,
    Scores,
    TaskScores,
    macro_average,
)
from support.answer_lines import answer_line

TRUTH = Box(0.2, 0.2, 0.6, 0.6)
RIGHT = "(200,200),(600,600)"
WRONG = "(700,700),(900,900)"


def instance(**changes: Any) -> Instance:
    """A target in the second of three images, which the question asks for."""
    fields: dict[str, Any] = {
        "id": "common_object-1",
        "index": 0,
        "task": "common_object",
        "images": ("a.png", "b.png", "c.png"),
        "question": "Locate the dog in the 2th image.",
        "target_image": 1,
        "asked_image": 1,
        "box": TRUTH,
    }
    return Instance(**fields | changes)


def sample_score(
    text: str | None,
    *,
    target: Instance | None = None,
    protocol: str = "standard",
    dialect: str = "qwen2-vl",
    correction: Correction | None = None,
    truncated: bool = False,
    refused: bool = False,
    sizes: list[tuple[int, int]] | None = None,
    **more: Any,
) -> SampleScore:
    """What becomes of one target after this answer."""
    target = target or instance()
    line = answer_line(target.id, text=text, truncated=truncated, refused=refused, sizes=sizes)
    scorer = Scorer(
        protocol=PROTOCOLS[protocol],
        dialect=find_dialect(dialect),
        strategy=find_strategy("direct"),
        correction=correction,
        **more,
    )
    (sample,) = scorer.score(polling([target]), {(target.id, 0): line})
    return sample


def scores_of(tasks: dict[str, TaskScores], **changes: Any) -> Scores:
    """A scored run with these tasks, and these fields changed."""
    plain = Scores(
        run="0" * 64,
        model="mine",
        protocol="standard",
        corrections="none",
        annotations=AnnotationSource(path="a.json", sha256="0" * 64, version="original", scale=1),
        evaluator="polling",
        strategy="direct",
        prompts="released",
        accepted_model_errors=False,
        tasks=tasks,
        macro=macro_average(tasks),
    )
    return msgspec.structs.replace(plain, **changes)
