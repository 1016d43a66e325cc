"""Muon for the matrices, AdamW for everything else, as one optimiser.

Muon (K. Jordan and others, 2024; ``torch.optim.Muon``) makes a step of all directions of a matrix
alike, and small transformers learn in fewer steps with it. Its steps are scaled to AdamW's size
(J. Liu and others, *Muon is scalable for LLM training*, 2025), so that both share a learning rate.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from migtrain.miniature.recipe import Optimiser

TABLES = ("embed", "lm_head", "heads.")
"""Parts of the names of matrices that are tables of vectors, one a row: AdamW's as well."""


def make_optimiser(choice: Optimiser, learner: Any) -> Any | None:
    """The optimiser of a recipe; None for AdamW alone, which `TrainingArguments` make."""
    if choice.name == "adamw":
        return None
    trained = [each for each in learner.named_parameters() if each[1].requires_grad]
    matrices = [each for name, each in trained if _is_matrix(name, each)]
    others = [each for name, each in trained if not _is_matrix(name, each)]
    optim = import_module("torch").optim
    rate, betas = choice.learning_rate, (0.9, choice.beta2)
    parts = [optim.AdamW(others, lr=rate, betas=betas, weight_decay=0.0)]
    if matrices:
        decay = choice.weight_decay
        parts.append(
            optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return _together(parts)


def _is_matrix(name: str, parameter: Any) -> bool:
    return parameter.ndim == 2 and not any(part in name for part in TABLES)


def _together(parts: list[Any]) -> Any:
    """Optimisers as one, stepped together; a schedule sees the parameter groups of all."""
    torch = import_module("torch")

    class Together(torch.optim.Optimizer):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__([group for part in parts for group in part.param_groups], {})

        def step(self, closure: Any = None) -> None:
            for part in parts:
                part.step()

        def state_dict(self) -> dict[str, Any]:
            return {"parts": [part.state_dict() for part in parts]}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            for part, state in zip(parts, state_dict["parts"], strict=True):
                part.load_state_dict(state)
            self.param_groups = [group for part in parts for group in part.param_groups]

    return Together()
