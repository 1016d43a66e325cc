"""What the task files name, where lmms-eval looks for it: beside them. The work is migbench's."""

from collections.abc import Mapping, Sequence
from typing import Any

from lmms_eval.tasks.vstar_bench.utils import vstar_process_results

from migbench.integrations.lmms_eval.hooks import mean
from migbench.integrations.lmms_eval.suites.grounding import (
    refcoco_documents,
    refcoco_images,
    refcoco_messages,
    refcoco_results,
    refcoco_text,
)
from migbench.integrations.lmms_eval.suites.high_resolution import (
    vstar_documents,
    vstar_images,
    vstar_located,
    vstar_messages,
    vstar_text,
)
from migbench.integrations.lmms_eval.suites.understanding import (
    mean_of_tasks,
    mibench_documents,
    mibench_images,
    mibench_messages,
    mibench_results,
    mibench_text,
    mmiu_documents,
    mmiu_images,
    mmiu_messages,
    mmiu_results,
    mmiu_text,
)

__all__ = [
    "mean",
    "mean_of_tasks",
    "mibench_documents",
    "mibench_images",
    "mibench_messages",
    "mibench_results",
    "mibench_text",
    "mmiu_documents",
    "mmiu_images",
    "mmiu_messages",
    "mmiu_results",
    "mmiu_text",
    "refcoco_documents",
    "refcoco_images",
    "refcoco_messages",
    "refcoco_results",
    "refcoco_text",
    "vstar_documents",
    "vstar_images",
    "vstar_messages",
    "vstar_results",
    "vstar_text",
]


def vstar_results(document: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
    """The last round's letter, read as lmms-eval's own task reads it."""
    rounds = results[0]
    located = vstar_located(document, rounds)
    read = vstar_process_results(document, [rounds[-1]])["vstar_overall_acc"]
    score = None if located is None else read["score"]
    return {"vstar_parts_acc": {"values": [score]}, "vstar_located": {"values": [located]}}
