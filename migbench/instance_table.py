"""One row per target, for whoever wants to look closer: Parquet or CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from migbench.benchmark import ScoredRun
from migbench.boxes import Box
from migbench.errors import UsageError
from migbench.run_store import AnswerLine
from migbench.scoring import Judgement
from migbench.scoring.judging import Lines

WRITERS = {".parquet": "to_parquet", ".csv": "to_csv"}


def write_instances(path: Path, scored: ScoredRun) -> None:
    """Write one row a target; the ending of ``path`` decides the format.

    Boxes are in 0-1 of the target image, ``index`` is the place in the annotation file, image
    numbers count from 1. ``answer`` is the one that the box was read from, ``earlier_answers`` are
    those of the question's turns before it, as a JSON list. Raises `UsageError` for another ending.
    """
    if path.suffix not in WRITERS:
        raise UsageError(f"{path}: choose a name that ends in {' or '.join(WRITERS)}")
    import pandas

    clusters = scored.annotations.clusters
    rows = [
        _row(judgement, clusters[judgement.instance.id], scored.run.lines)
        for judgement in scored.judgements
    ]
    frame = pandas.DataFrame(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    getattr(frame, WRITERS[path.suffix])(path, index=False)


def _row(judgement: Judgement, cluster: int, lines: Lines) -> dict[str, Any]:
    instance, line = judgement.instance, judgement.line
    return {
        "id": instance.id,
        "index": instance.index,
        "task": instance.task,
        "image_set": instance.image_set,
        "cluster": cluster,
        "target_image": instance.target_image + 1,
        **_edges("truth", judgement.truth),
        **_edges("box", judgement.prediction.box),
        "iou": judgement.iou,
        "outcome": judgement.outcome.value,
        "flags": " ".join(flag.value for flag in judgement.flags),
        "named_image": _from_one(judgement.prediction.named_image),
        "answer": line.text if line else None,
        "earlier_answers": json.dumps(_earlier(line, lines), ensure_ascii=False),
        "error": line.error if line else "not asked yet",
    }


def _earlier(line: AnswerLine | None, lines: Lines) -> list[str | None]:
    if line is None:
        return []
    return [lines[line.question, turn].text for turn in range(line.turn)]


def _edges(name: str, box: Box | None) -> dict[str, float | None]:
    edges = box or (None, None, None, None)
    return {f"{name}_{edge}": value for edge, value in zip(Box._fields, edges, strict=True)}


def _from_one(image: int | None) -> int | None:
    return None if image is None else image + 1
