"""Both evaluators and all strategies, end to end with a real model on MIG-Mini."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from support.command_line import migbench
from support.sealed import edit_manifest

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import STRATEGIES
from migbench.mini import render

pytest.importorskip("torch", reason="needs a model that runs here")

FORMS = list(itertools.product(EVALUATORS, STRATEGIES))


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from model_adapters.tiny_qwen2_vl import build

    return build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def runs(
    mini: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("runs")
    done = {}
    for evaluator, strategy in FORMS:
        out = done[evaluator, strategy] = folder / f"{evaluator}-{strategy}"
        run = migbench(*command(mini, checkpoint, out, evaluator, strategy))
        # An untrained model's answers hold no box, which a run warns of.
        assert (run.status, "hold no box" in run.err) in ((0, False), (1, True)), run.err
    return done


def command(mini: Path, checkpoint: Path, out: Path, evaluator: str, strategy: str) -> list[str]:
    return [
        *("run", "--model", str(checkpoint), "--data", str(mini), "--out", str(out)),
        *("--evaluator", evaluator, "--strategy", strategy),
        *("--max-new-tokens", "8", "--model-arg", "batch_size=8"),
    ]


@pytest.mark.parametrize(("evaluator", "strategy"), FORMS)
def test_every_form_scores_the_same_targets(
    runs: dict[tuple[str, str], Path], evaluator: str, strategy: str
) -> None:
    scores = json.loads((runs[evaluator, strategy] / "scores.json").read_text())
    assert scores["evaluator"] == evaluator
    assert scores["strategy"] == strategy
    assert scores["prompts"] == ("released" if strategy == "direct" else "paper")
    assert {task["n"] for task in scores["tasks"].values()} == {2}
    assert scores["macro"]["outcomes"]["model_error"] == 0


@pytest.mark.parametrize(("evaluator", "strategy"), FORMS)
def test_what_is_asked_is_what_the_dry_run_said(
    runs: dict[tuple[str, str], Path], mini: Path, evaluator: str, strategy: str
) -> None:
    dry = migbench(
        *("run", "--model", "migician", "--data", mini, "--dry-run"),
        *("--evaluator", evaluator, "--strategy", strategy),
    )
    promised = next(line.split() for line in dry.out.splitlines() if line.startswith("all "))[4]
    lines = (runs[evaluator, strategy] / "answers.jsonl").read_text().splitlines()
    asked = [line for line in map(json.loads, lines) if not line.get("reused")]
    # Second steps that happen to be equal are asked once; before the answers, none can be known.
    assert len(asked) <= int(promised)
    assert len({line["key"] for line in asked}) == len(asked)
    if strategy == "direct":
        assert len(asked) == int(promised)


def test_a_run_of_many_turns_goes_on_at_any_turn(
    runs: dict[tuple[str, str], Path], mini: Path, checkpoint: Path, tmp_path: Path
) -> None:
    whole = runs["polling", "cot"]
    lines = (whole / "answers.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "run.json").write_bytes((whole / "run.json").read_bytes())

    def as_at_the_start(content: dict[str, Any]) -> None:
        content["status"] = "running"
        content["seal"].update(lines=0, link="")

    edit_manifest(cut, as_at_the_start)  # As a killed process leaves it.
    (cut / "answers.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:20])
    done = migbench(*command(mini, checkpoint, cut, "polling", "cot"))
    assert (done.status, "hold no box" in done.err) == (1, True), done.err

    def answers(run: Path) -> dict[tuple[str, int], str]:
        read = map(json.loads, (run / "answers.jsonl").read_text().splitlines())
        return {(line["question"], line.get("turn", 0)): line["text"] for line in read}

    assert answers(cut) == answers(whole)


def test_every_intermediate_answer_is_shown_beside_the_last(
    runs: dict[tuple[str, str], Path],
) -> None:
    frame = pandas.read_parquet(runs["polling", "cot"] / "instances.parquet")
    lines = (runs["polling", "cot"] / "answers.jsonl").read_text().splitlines()
    described = {
        line["question"]: line["text"] for line in map(json.loads, lines) if "turn" not in line
    }
    for row in frame.itertuples():
        assert json.loads(str(row.earlier_answers)) == [described[str(row.id)]]
    direct = pandas.read_parquet(runs["polling", "direct"] / "instances.parquet")
    assert set(direct.earlier_answers) == {"[]"}


def test_one_table_compares_all_forms(runs: dict[tuple[str, str], Path]) -> None:
    done = migbench("table", *runs.values())
    assert done.status == 0
    for evaluator, strategy in FORMS:
        assert f"{evaluator}, {strategy}" in done.out
