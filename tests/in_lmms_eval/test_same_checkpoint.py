"""One checkpoint, asked by migbench and by lmms-eval: the same answers, the same hits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import box_checkpoint
import pytest
from support.command_line import migbench

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import find_strategy
from migbench.data.annotations import read_annotations
from migbench.data.images import locate_data
from migbench.dialects import ask, find_dialect
from migbench.runs.store import Run
from migbench.tasks import load_tasks, tasks_folder

TASKS = [spec.key for spec in load_tasks()]


@pytest.fixture(scope="module")
def checkpoint(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has learnt every second question by heart."""
    data, dialect = locate_data(mini), find_dialect("qwen2-vl")
    taught = {}
    for question in [*EVALUATORS["polling"](read_annotations(data.annotations).instances)][::2]:
        box = "({:.0f},{:.0f}),({:.0f},{:.0f})".format(
            *(1000 * edge for edge in question.targets[0].box)
        )
        turn = next(find_strategy("direct")(question))
        taught[box] = ask(dialect, turn, [data.image(name) for name in question.images])
    return box_checkpoint.build(tmp_path_factory.mktemp("checkpoint"), taught)


@pytest.fixture(scope="module")
def logs(checkpoint: Path, mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lmms-eval's own command line leaves behind."""
    out = tmp_path_factory.mktemp("logs")
    command = [
        *(sys.executable, "-m", "lmms_eval", "--include_path", str(tasks_folder())),
        *("--tasks", "migbench", "--model", "llava_hf", "--device", "cpu", "--log_samples"),
        *("--model_args", f"pretrained={checkpoint},device_map=cpu,dtype=float32"),
        *("--output_path", str(out)),
    ]
    declared = {"MIGBENCH_DATA": str(mini), "MIGBENCH_DIALECT": "qwen2-vl"}
    done = subprocess.run(
        command, cwd=out, env=os.environ | declared, capture_output=True, text=True
    )
    # Its exit status is 0 whatever happens.
    assert list(out.rglob("*_results.json")), done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def by_migbench(checkpoint: Path, mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """migbench's own run, with its transformers adapter."""
    out = tmp_path_factory.mktemp("migbench") / "run"
    done = migbench(
        *("run", "--model", checkpoint, "--dialect", "qwen2-vl", "--data", mini, "--out", out),
        *("--model-arg", "device=cpu", "--model-arg", "batch_size=1"),
    )
    assert done.status == 0, done.err
    return out


def answers(run: Path) -> dict[str, str | None]:
    return {line.question: line.text for line in Run(run).lines.values()}


def scores(run: Path, protocol: str = "standard") -> Mapping[str, Any]:
    done = migbench("score", run, "--protocol", protocol, "--json", "-")
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def hits(run: Path) -> dict[str, int]:
    return {task: found["outcomes"]["hit"] for task, found in scores(run)["tasks"].items()}


def test_the_checkpoint_hits_what_it_was_taught(by_migbench: Path) -> None:
    assert all(3 <= found < 6 for found in hits(by_migbench).values())
    assert len(set(answers(by_migbench).values())) > 20


@pytest.mark.parametrize("protocol", ["standard", "released"])
def test_lmms_eval_counts_the_same_hits(protocol: str, logs: Path, by_migbench: Path) -> None:
    (results,) = logs.rglob("*_results.json")
    found = json.loads(results.read_text())["results"]
    ours = scores(by_migbench, protocol)
    metric = {"standard": "acc@0.5,none", "released": "released_acc@0.5,none"}[protocol]
    theirs = {task: 100 * found[f"migbench_{task}"][metric] for task in TASKS}
    assert theirs == pytest.approx({task: ours["tasks"][task]["acc@0.5"] for task in TASKS})
    assert 100 * found["migbench"][metric] == pytest.approx(ours["macro"]["acc@0.5"])


def test_its_logs_are_scored_again_with_equal_results(
    logs: Path, by_migbench: Path, mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "imported"
    done = migbench(
        *("import", "lmms-eval", logs, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "mine", "--dialect", "qwen2-vl", "--out", out),
    )
    assert done.status == 0, done.err
    assert answers(out) == answers(by_migbench)
    for protocol in ("standard", "released"):
        assert scores(out, protocol)["tasks"] == scores(by_migbench, protocol)["tasks"]


def test_its_model_class_gives_migbench_the_same_answers(
    checkpoint: Path, by_migbench: Path, mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = migbench(
        *("run", "--model", "llava_hf", "--adapter", "lmms-eval", "--dialect", "qwen2-vl"),
        *("--model-arg", f"pretrained={checkpoint}", "--model-arg", "dtype=float32"),
        *("--model-arg", "device=cpu", "--model-arg", "device_map=cpu"),
        *("--model-arg", "images=decoded", "--data", mini, "--out", out),
    )
    assert done.status == 0, done.err
    assert answers(out) == answers(by_migbench)
    assert hits(out) == hits(by_migbench)
