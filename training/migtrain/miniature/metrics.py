"""The diary of a training: one JSON object a line, and a picture of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migbench.errors import DataError

METRICS = "metrics.jsonl"
CURVE = "curve.png"


def append_metrics(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line, on disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines; a last one that was cut off is left out. Raises `DataError` for another."""
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{path}:{number}: is not JSON ({error})") from error
    return found


def rewind(path: Path, step: int) -> None:
    """Forget what was written after a step: a resumed training goes through it again."""
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    partial.replace(path)


def draw_curve(path: Path, picture: Path) -> bool:
    """Draw loss and held-out accuracy over the steps; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    lines = read_metrics(path)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    axes.plot(*zip(*losses, strict=True) if losses else ([], []), color="tab:gray", label="loss")
    axes.set(xlabel="step", ylabel="loss on answers")
    axes.set_ylim(bottom=0)
    accuracy = axes.twinx()
    watched = [line for line in lines if "acc@0.5" in line]
    for task in sorted({task for line in watched for task in line["tasks"]}):
        points = [(line["step"], line["tasks"][task]) for line in watched if task in line["tasks"]]
        accuracy.plot(*zip(*points, strict=True), linewidth=0.7, alpha=0.6, label=task)
    if watched:
        steps = [line["step"] for line in watched]
        macro = [line["acc@0.5"] for line in watched]
        accuracy.plot(steps, macro, color="black", marker="o", label="mean of the tasks")
        accuracy.legend(loc="center right", fontsize="small")
    accuracy.set(ylabel="Acc@0.5 on held-out scenes, %", ylim=(0, 100))
    figure.savefig(picture, dpi=120)
    return True
