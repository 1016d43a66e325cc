"""What lmms-eval asks of a question of the workload, and how it takes the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1]


def images(question: dict[str, Any]) -> list[str]:
    """The images' paths: lmms-eval keeps what it has encoded for paths, for nothing else."""
    return [str(FOLDER / name) for name in question["images"]]


def answered(question: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """1 for what the null server says; lmms-eval gives a failed request a text as well."""
    return {"answered": float(answers[0].startswith("<|box_start|>"))}
