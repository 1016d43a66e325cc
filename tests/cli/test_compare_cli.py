"""``migbench compare``: accuracy and cost of runs side by side, from what is stored."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command_line import migbench

from migbench.data.annotations import read_annotations
from migbench.data.images import locate_data
from migbench.mini import render
from migbench.runs.plan import make_plan
from migbench.runs.store import Run
from migbench.scoring.scored_run import score_run
from migbench.scoring.usage import estimate_usage, measured_usage

MODEL = """
from migbench.messages import Answer

class Model:
    def __init__(self, counts=True):
        self.counts = counts
        self.asked = 0

    def answer(self, request):
        self.asked += 1
        counts = {"prompt_tokens": 100, "cached_tokens": 64, "completion_tokens": 7}
        tokens = counts if self.counts else {}
        return Answer(f"Image-1: (0,0),(999,999), {self.asked}", seconds=1.0, **tokens)
"""
FORMS = {
    "polling": ("polling", "direct"),
    "all": ("all-at-once", "direct"),
    "cot": ("polling", "cot"),
    "all-mcot": ("all-at-once", "mcot"),
}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=3)
    return folder


@pytest.fixture(scope="module")
def runs(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model's runs in several forms, and one on fewer instances that counts no tokens."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "model.py").write_text(MODEL)
    more = {name: ("--evaluator", form[0], "--strategy", form[1]) for name, form in FORMS.items()}
    more["few"] = ("--limit", "1", "--model-arg", "counts=false")
    for name, options in more.items():
        done = migbench(
            *("run", "--model", "mine", "--adapter", f"{folder / 'model.py'}:Model"),
            *("--dialect", "qwen2-vl", "--data", mini, "--out", folder / name, *options),
        )
        assert done.status == 0, done.err
    return {name: folder / name for name in more}


def report(path: Path, *arguments: object) -> dict[str, Any]:
    done = migbench("compare", *arguments, "--json", path)
    assert done.status == 0, done.err
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# --- what it prints -------------------------------------------------------------------------------


def test_runs_are_compared_with_the_first_and_their_costs_stand_below(
    runs: dict[str, Path],
) -> None:
    done = migbench("compare", runs["polling"], runs["all"], runs["cot"])
    assert done.status == 0
    lines = done.out.splitlines()
    assert [line for line in lines if " against " in line] == [
        "mine (all at once) against mine",
        "mine +CoT against mine",
    ]
    header = next(line for line in lines if line.startswith("Task"))
    assert re.split(r"\s{2,}", header)[4:] == [
        *("Difference [95 %]", "p", "Holm", "MDE"),
        *("Wins", "Losses", "Both", "Neither"),
    ]
    assert sum(line.startswith("macro (10)") for line in lines) == 2
    costs = lines[next(i for i, line in enumerate(lines) if line.startswith("Run ")) :]
    assert "Wall time" in costs[0]
    assert [line.split("  ")[0] for line in costs[2:5]] == [
        "mine",
        "mine (all at once)",
        "mine +CoT",
    ]
    assert sum("protocol standard, annotations MIG_mini.json" in line for line in lines) == 3


def test_runs_of_one_model_and_form_are_told_apart_by_folder(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(runs["polling"], tmp_path / "again")
    done = migbench("compare", runs["polling"], tmp_path / "again")
    assert "mine (again) against mine (polling)" in done.out


def test_a_run_of_fewer_targets_says_of_how_many(runs: dict[str, Path]) -> None:
    done = migbench("compare", runs["polling"], runs["few"])
    assert "mine [10 of 30] against mine\n" in done.out
    assert "Left out: 20 targets that only mine was asked for, 0 that only" in done.out


def test_json_has_runs_comparisons_and_costs(runs: dict[str, Path], tmp_path: Path) -> None:
    content = report(tmp_path / "c.json", runs["polling"], runs["all"])
    assert [run["folder"] for run in content["runs"]] == [str(runs["polling"]), str(runs["all"])]
    assert [run["scores"]["evaluator"] for run in content["runs"]] == ["polling", "all-at-once"]
    (comparison,) = content["comparisons"]
    assert (comparison["first"], comparison["second"]) == ("mine", "mine (all at once)")
    for paired in comparison["tasks"].values():
        counts = (paired[name] for name in ("both", "wins", "losses", "neither", "unanswered"))
        assert sum(counts) == paired["n"] == 3
    assert comparison["macro"]["tasks"] == 10


def test_a_run_without_an_answer_ends_with_status_1_and_a_dash(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("run.json", "answers.jsonl"):
        (broken / name).write_bytes((runs["polling"] / name).read_bytes())
    answers = broken / "answers.jsonl"
    answers.write_text("\n".join(answers.read_text().splitlines()[1:]) + "\n")
    done = migbench("compare", runs["polling"], broken)
    assert done.status == 1
    macro = next(line for line in done.out.splitlines() if line.startswith("macro")).split()
    assert macro[4:6] == ["–", "–"]
    assert macro[-1] == "1"
    assert "No answer" in done.out
    assert "INCOMPLETE: 1 targets" in done.out
    accepted = migbench("compare", runs["polling"], broken, "--accept-model-errors")
    assert "No answer" not in accepted.out


@pytest.mark.parametrize("number", [0, 1])
def test_one_run_cannot_be_compared(runs: dict[str, Path], number: int) -> None:
    done = migbench("compare", *[runs["polling"]] * number)
    assert done.status == 2
    assert "two runs" in done.err or "Missing argument" in done.err


def test_runs_on_other_annotations_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    render(tmp_path / "other", per_task=1, seed=7)
    migbench("run", "--model", "centre", "--data", tmp_path / "other", "--out", tmp_path / "run")
    done = migbench("compare", runs["polling"], tmp_path / "run")
    assert done.status == 2
    assert "mine (MIG_mini.json" in done.err
    assert "centre (MIG_mini.json" in done.err
    assert "different annotations" in done.err


# --- what it has cost -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_costs_paid_are_those_that_were_planned(
    runs: dict[str, Path], mini: Path, name: str
) -> None:
    evaluator, strategy = FORMS[name]
    run = Run(runs[name])
    plan = make_plan(run.settings.model, locate_data(mini), evaluator=evaluator, strategy=strategy)
    planned = estimate_usage(plan).values()
    paid = measured_usage(score_run(run))
    assert paid.requests == sum(cost.requests for cost in planned)
    assert paid.images_shown == sum(cost.images_shown for cost in planned)
    assert paid.prompt_tokens == 100 * paid.requests
    assert paid.cached_tokens == 64 * paid.requests
    assert paid.completion_tokens == 7 * paid.requests


def test_all_at_once_asks_less_and_single_image_chains_ask_more(runs: dict[str, Path]) -> None:
    paid = {name: measured_usage(score_run(Run(runs[name]))) for name in FORMS}
    assert paid["all"].requests < paid["polling"].requests < paid["cot"].requests
    assert paid["polling"].requests == 30


def test_reused_answers_have_cost_nothing(runs: dict[str, Path]) -> None:
    lines = Run(runs["cot"]).lines.values()
    assert any(line.reused for line in lines)
    paid = measured_usage(score_run(Run(runs["cot"])))
    assert paid.requests == sum(not line.reused for line in lines)


def test_tokens_that_were_not_counted_are_unknown(runs: dict[str, Path]) -> None:
    paid = measured_usage(score_run(Run(runs["few"])))
    assert (paid.prompt_tokens, paid.cached_tokens, paid.completion_tokens) == (None, None, None)
    assert "–" in next(
        line
        for line in migbench("compare", runs["few"], runs["polling"]).out.splitlines()
        if line.startswith("mine [10 of 30]") and "polling  " in line
    )


def test_wall_time_is_that_of_the_run_not_the_sum_of_its_answers(runs: dict[str, Path]) -> None:
    paid = measured_usage(score_run(Run(runs["polling"])))
    assert paid.wall_seconds is not None
    assert 0 < paid.wall_seconds < 30  # Each of 30 answers says that it took a second.


def test_resuming_adds_to_the_wall_time(runs: dict[str, Path], mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("run", "--model", "centre", "--data", mini, "--out", out)
    assert migbench(*command, "--limit", "1").status == 0
    first = Run(out).manifest.wall_seconds
    assert migbench(*command).status == 0
    second = Run(out).manifest.wall_seconds
    assert first is not None
    assert second is not None
    assert second > first


# --- real answers ---------------------------------------------------------------------------------


def test_migician_against_the_model_it_was_made_from(
    published_runs: dict[str, Path], tmp_path: Path
) -> None:
    content = report(
        tmp_path / "c.json",
        published_runs["qwen2_vl"],
        published_runs["migician"],
        "--protocol",
        "released",
    )
    (comparison,) = content["comparisons"]
    macro = comparison["macro"]
    assert macro["first"] == pytest.approx(30.64, abs=0.005)
    assert macro["second"] == pytest.approx(63.37, abs=0.005)
    assert macro["difference"] == pytest.approx(macro["second"] - macro["first"])
    assert macro["n"] == 4276
    group = comparison["tasks"]["group_grounding"]
    assert group["both"] + group["losses"] == 335
    assert group["both"] + group["wins"] == 404
    assert all(paired["wins"] > paired["losses"] for paired in comparison["tasks"].values())
    for run in content["runs"]:
        assert run["paid"] == {
            "requests": 4276,
            "images_shown": 16137,
            "prompt_tokens": None,
            "cached_tokens": None,
            "completion_tokens": None,
            "wall_seconds": None,
        }


def test_imported_answers_of_a_mini_run_have_no_wall_time(mini: Path, tmp_path: Path) -> None:
    instances = read_annotations(mini / "MIG_mini.json").instances
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"id": each.id, "response": ""}) for each in instances))
    done = migbench(
        *("import", "jsonl", path, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "qwen2-vl-7b", "--out", tmp_path / "run"),
    )
    assert done.status == 0, done.err
    assert Run(tmp_path / "run").manifest.wall_seconds is None
