"""Difficulty on the command line: making a split, and accuracy by level of run, score and table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from support.command_line import migbench
from support.synthetic_runs import ORDER, four_runs, knowing, stored

from migbench.data.annotations import read_annotations
from migbench.mini import render
from migbench.runs.store import Run
from migbench.scoring import Level, read_split
from migbench.scoring.baselines import make_split
from migbench.scoring.difficulty import RULES
from migbench.scoring.scored_run import ScoredRun, score_run

EASY, MEDIUM, HARD = Level


def folders(runs: tuple[Run, ...]) -> list[Path]:
    return [run.folder for run in runs]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=6)
    return folder


@pytest.fixture(scope="module")
def runs(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    return four_runs(tmp_path_factory.mktemp("runs"), read_annotations(mini / "MIG_mini.json"))


@pytest.fixture(scope="module")
def scored(runs: tuple[Run, ...]) -> list[ScoredRun]:
    return [score_run(run) for run in runs]


@pytest.fixture(scope="module")
def split(runs: tuple[Run, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("splits") / "split.json"
    done = migbench("difficulty", "make", "--runs", *folders(runs), "--out", out)
    assert done.status == 0, done.err
    return out


def test_making_a_split_prints_what_every_rule_gives(
    runs: tuple[Run, ...], scored: list[ScoredRun], tmp_path: Path
) -> None:
    done = migbench(
        *("difficulty", "make", "--runs", *folders(runs)),
        *("--out", tmp_path / "split.json", "--rule", "hard-first"),
    )
    assert done.status == 0, done.err
    for name, rule in RULES.items():
        counts = make_split(scored, rule).counts
        line = next(line for line in done.out.splitlines() if line.startswith(f"{name} "))
        assert line.split()[1:4] == [str(counts[one]) for one in Level]
        assert rule.about in line
    assert read_split(tmp_path / "split.json") == make_split(scored, RULES["hard-first"])


def test_protocol_and_corrections_are_those_asked_for(
    runs: tuple[Run, ...], tmp_path: Path
) -> None:
    out = tmp_path / "split.json"
    done = migbench(
        *("difficulty", "make", "--runs", *folders(runs), "--out", out, "--protocol", "released")
    )
    assert done.status == 0, done.err
    assert {run.protocol for run in read_split(out).runs} == {"released"}


def test_scores_by_level(runs: tuple[Run, ...], split: Path, tmp_path: Path) -> None:
    done = migbench(
        "score", runs[1].folder, "--difficulty", split, "--json", tmp_path / "scores.json"
    )
    assert done.status == 0, done.err
    difficulty = json.loads((tmp_path / "scores.json").read_text())["difficulty"]
    made = read_split(split)
    run = score_run(runs[1])
    for one in Level:
        group = [each for each in run.samples if made.levels[each.instance.id] is one]
        figures = difficulty["levels"][one.value]
        assert figures["n"] == len(group) == made.counts[one] > 0
        right = sum(each.iou >= 0.5 for each in group)
        assert figures["acc@0.5"] == pytest.approx(100 * right / len(group))
    assert difficulty["split"] == made.hash
    assert f"split {made.hash} by the rule literal" in done.out
    assert migbench("score", runs[1].folder).out in done.out


def test_without_a_split_nothing_is_said_of_levels(runs: tuple[Run, ...], tmp_path: Path) -> None:
    done = migbench("score", runs[0].folder, "--json", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["difficulty"] is None
    assert "Easy" not in done.out


def test_table_7_beside_the_published_rows(runs: tuple[Run, ...], split: Path) -> None:
    done = migbench(
        "table", *folders(runs), "--difficulty", split, "--published", "--format", "csv"
    )
    assert done.status == 0, done.err
    _, levels = done.out.split("\n\n")
    rows = list(csv.DictReader(io.StringIO(levels)))
    published = [row for row in rows if row["section"].startswith("Published")]
    ours = [row for row in rows if row not in published]
    assert [row["model"] for row in ours] == [
        # All four are what the split was made from.
        *("llava-onevision-7b‡", "llava-onevision-7b +CoT‡", "mplug-owl3‡", "mplug-owl3 +CoT‡")
    ]
    for row, run in zip(ours, runs, strict=True):
        by_level = score_run(run, difficulty=read_split(split)).scores.difficulty
        assert by_level is not None
        figures = [by_level.levels[one].at_50 for one in Level]
        assert [float(row[one]) for one in Level] == pytest.approx(figures, abs=1e-4)
    assert [published[-1][one] for one in Level] == ["76.0", "52.1", "29.37"]
    # Another split, so never ranked together, whatever the annotation files.
    assert {row["annotations"] for row in ours}.isdisjoint(row["annotations"] for row in published)


@pytest.mark.parametrize("markup", ["text", "markdown", "latex"])
def test_table_7_in_every_format(runs: tuple[Run, ...], split: Path, markup: str) -> None:
    done = migbench(
        "table", runs[0].folder, "--difficulty", split, "--published", "--format", markup
    )
    assert done.status == 0, done.err
    assert "29.37" in done.out
    assert "2471 easy, 1430 medium, 395 hard" in done.out


def test_table_7_can_stand_alone(runs: tuple[Run, ...], split: Path) -> None:
    alone = migbench("table", runs[0].folder, "--layout", "table7", "--difficulty", split)
    both = migbench("table", runs[0].folder, "--difficulty", split)
    assert both.out.endswith("\n" + alone.out)
    assert "Easy" in alone.out.splitlines()[0]


def test_a_part_of_the_instances_is_said_to_be_one(mini: Path, split: Path, tmp_path: Path) -> None:
    done = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", tmp_path / "run"),
        *("--tasks", "OT", "--difficulty", split),
    )
    assert done.status == 0, done.err
    assert "whole-image [6 of 60]: on a part of the instances: " in done.out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    levels = scores["difficulty"]["levels"]
    assert sum(figures["n"] for figures in levels.values()) == 6


def test_a_level_with_a_model_error_has_no_accuracy(
    mini: Path, split: Path, tmp_path: Path
) -> None:
    annotations = read_annotations(mini / "MIG_mini.json")
    run = stored(tmp_path / "run", annotations, *ORDER[0], knowing(0), limit=59)
    without = read_split(split).levels[annotations.instances[59].id]
    by_level = score_run(run, difficulty=read_split(split)).scores.difficulty
    accepted = score_run(run, difficulty=read_split(split), accept_model_errors=True)
    assert by_level is not None
    assert accepted.scores.difficulty is not None
    for one in Level:
        assert (by_level.levels[one].at_50 is None) == (one is without)
        assert accepted.scores.difficulty.levels[one].at_50 is not None


def test_a_split_for_another_annotation_file_is_refused(split: Path, tmp_path: Path) -> None:
    render(tmp_path / "mini", per_task=1)
    out = tmp_path / "run"
    data = ["--model", "whole-image", "--data", tmp_path / "mini", "--out", out]
    early = migbench("run", *data, "--difficulty", split)
    assert not out.exists(), "refused before anything is asked"
    assert migbench("run", *data).status == 0
    late = [migbench(name, out, "--difficulty", split) for name in ("score", "table")]
    for done in [early, *late]:
        assert done.status == 2
        assert "the difficulty split is for the custom annotation file" in done.err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda made: made.update(counts={"easy": 60, "medium": 0, "hard": 0}), "'counts'"),
        (lambda made: made["levels"].update(x="impossible"), "Invalid enum value"),
        (lambda made: made.pop("content_sha256"), "'content_sha256' is missing"),
        (lambda made: made.update(split=1), "unknown field"),
    ],
    ids=["counts", "level", "missing", "unknown"],
)
def test_a_malformed_split_is_named(
    runs: tuple[Run, ...],
    split: Path,
    tmp_path: Path,
    change: Callable[[dict[str, object]], object],
    complaint: str,
) -> None:
    made = json.loads(split.read_text())
    change(made)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(made))
    done = migbench("score", runs[0].folder, "--difficulty", path)
    assert done.status == 2
    assert f"{path}: not a difficulty split" in done.err
    assert complaint in done.err


# --- End to end, with models that are asked -------------------------------------------------------

STUDENT = '''
from pathlib import Path

from migbench.data.annotations import read_annotations


class Student:
    """Knows the boxes of some tasks: shown with all images ``together``, or one image ``alone``."""

    def __init__(self, annotations, together, alone):
        self.instances = read_annotations(Path(annotations)).instances
        self.together, self.alone = together, alone

    def answer(self, request):
        shown = tuple(image.name for image in request.images)
        for instance in self.instances:
            if len(shown) == 1:
                target = instance.images[instance.target_image]
                known = instance.task in self.alone and shown == (target,)
            else:
                asked = instance.question.strip() in request.text()
                known = instance.task in self.together and shown == instance.images and asked
            if known:
                return "(%d,%d),(%d,%d)" % tuple(1000 * edge for edge in instance.box)
        return "nothing to be seen"
'''


def test_end_to_end_with_two_models_that_are_asked(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "student.py").write_text(STUDENT)
    knowledge = {
        "alice": (
            "[diff, refer_grounding, object_tracking]",
            "[diff, refer_grounding, multi_view]",
        ),
        "bob": ("[diff]", "[refer_grounding]"),
    }
    runs = []
    for name, (together, alone) in knowledge.items():
        for strategy in ("direct", "cot"):
            runs.append(tmp_path / f"{name}-{strategy}")
            done = migbench(
                *("run", "--model", name, "--adapter", f"{tmp_path / 'student.py'}:Student"),
                *("--model-arg", f"annotations={mini / 'MIG_mini.json'}", "--dialect", "qwen2-vl"),
                *("--model-arg", f"together={together}", "--model-arg", f"alone={alone}"),
                *("--data", mini, "--out", runs[-1], "--strategy", strategy),
            )
            # Who knows three tasks of ten gives no box for the others: that is warned of.
            assert (done.status, "hold no box" in done.err) == (1, True)
    out = tmp_path / "split.json"
    done = migbench("difficulty", "make", "--runs", *runs, "--out", out)
    assert done.status == 0, done.err
    made = read_split(out)
    frame = pandas.read_parquet(runs[0] / "instances.parquet").set_index("id")
    by_task = {
        task: {made.levels[id_] for id_ in group.index} for task, group in frame.groupby("task")
    }
    expected = {
        "diff": {EASY},  # Two images, hit by three of the four.
        "refer_grounding": {EASY},
        "multi_view": {EASY},  # One gains by chain of thought, 0.5 on average.
        "object_tracking": {HARD},  # Six images, one hit.
        "group_grounding": {MEDIUM, HARD},  # No hit; some sets have five images.
    }
    assert by_task == expected | {task: {MEDIUM} for task in by_task.keys() - expected}
    assert ": 18 easy, 34 medium, 8 hard\n" in done.out
    table = migbench("table", *runs, "--layout", "table7", "--difficulty", out, "--format", "csv")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(table.out))}
    assert rows["alice‡"]["hard"] == "75.0"
    assert rows["alice +CoT‡"]["hard"] == rows["bob‡"]["hard"] == "0.0"
