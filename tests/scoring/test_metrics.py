"""Metrics are registered once: a further one is a line of one module."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.synthetic_runs import knowing, stored

import migbench
from migbench.data.annotations import read_annotations
from migbench.mini import render

LAST = (
    "    at_70: Annotated[float | None, accuracy_at(0.7)] = "
    'msgspec.field(name="acc@0.7", default=None)\n'
)
FURTHER = LAST.replace("at_70", "at_90").replace("0.7", "0.9")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the package with an accuracy more, which is one line more."""
    package = Path(migbench.__file__).parent
    copy = tmp_path / "copy" / "migbench"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    if not (copy / "_tasks").is_dir():
        shutil.copytree(package.parent / "tasks", copy.parent / "tasks")
    metrics = copy / "scoring" / "metrics.py"
    before = metrics.read_text()
    assert before.count(LAST) == 1
    metrics.write_text(before.replace(LAST, LAST + FURTHER))
    return copy.parent


def test_a_further_accuracy_is_one_line_and_stands_everywhere(
    changed: Path, tmp_path: Path
) -> None:
    render(tmp_path / "mini", per_task=2)
    annotations = read_annotations(tmp_path / "mini" / "MIG_mini.json")
    for place in (0, 1):
        run = tmp_path / f"run{place}"
        stored(run, annotations, "llava-onevision-7b", "direct", knowing(place))

    def command(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "migbench", *map(str, arguments)],
            cwd=changed,  # Where ``-m`` looks first.
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    scores = tmp_path / "scores.json"
    assert "Acc@0.9" in command("score", tmp_path / "run0", "--json", scores)
    content = msgspec.json.decode(scores.read_bytes())
    assert 0 < content["macro"]["acc@0.9"] < 100
    for task in content["tasks"].values():
        assert "acc@0.9" in task["intervals"]
    assert "acc@0.9" in command("compare", "--help")
    compared = command("compare", tmp_path / "run0", tmp_path / "run1", "--metric", "acc@0.9")
    assert "Acc@0.9" in compared
