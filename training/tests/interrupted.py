"""Trainings that are interrupted on purpose, and the losses that show whether they went on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migtrain.miniature.recipe import Recipe
from migtrain.miniature.train import train
from migtrain.miniature.training_log import METRICS, read_metrics


def interrupt(recipe: Recipe, out: Path, step: int) -> None:
    """Train, and be interrupted as soon as the log has this step."""

    def die(line: dict[str, Any]) -> None:
        if line["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, log=die)


def losses(folder: Path) -> list[float]:
    """The loss of every step that was logged."""
    return [line["loss"] for line in read_metrics(folder / METRICS) if "loss" in line]
