"""What the task files name, where lmms-eval looks for it: beside them. The work is migbench's."""

from migbench.integrations.lmms_eval import hooks
from migbench.integrations.lmms_eval.hooks import (
    doc_to_messages,
    doc_to_text,
    doc_to_visual,
    mean,
    polling,
    process_results,
)

__all__ = [
    "dataset_kwargs",
    "doc_to_messages",
    "doc_to_text",
    "doc_to_visual",
    "mean",
    "polling",
    "process_results",
]

dataset_kwargs = hooks.dataset_kwargs()
