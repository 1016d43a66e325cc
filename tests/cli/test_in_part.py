"""A run that was not asked everything: beside every number of it stands how much it was."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from support.command_line import Done, migbench
from support.report_runs import make_data, small_records

from migbench.reporting.published import load_table
from migbench.reporting.published.reproduction import set_beside
from migbench.reporting.tables import reproduction_table
from migbench.runs.store import Run
from migbench.scoring import Coverage, coverage_of
from migbench.scoring.scored_run import score_run

MARK = "[4 of 10]"
PARTS = {
    "limited": (("--limit", "1"), "4 of 10"),
    "one-task": (("--tasks", "OT"), "2 of 10"),
    "shard": (("--shard", "1/3"), "4 of 10"),
}
"""Options by which a run is asked a part of the ten targets of four tasks, and how many it is."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full run of a model that hits nothing but by chance, and runs in part, on small data."""
    folder = tmp_path_factory.mktemp("in-part")
    # The whole image is the answer: it is the truth of the first target of every task.
    records = small_records()
    for task in {each["task"] for each in records}:
        next(each for each in records if each["task"] == task)["answer"] = [0.0, 0.0, 1.0, 1.0]
    make_data(folder / "data", records)
    for name, options in {
        "full": (),
        **{name: options for name, (options, _) in PARTS.items()},
    }.items():
        done = migbench(
            *("run", "--model", "whole-image", "--data", folder / "data" / "data.json"),
            *("--out", folder / name, *options),
        )
        assert done.status == 0, done.err
    return folder


def called(folder: Path, command: str, *more: object) -> Done:
    """Run a command, in which names of runs are those below the folder."""
    words = (folder / word if word == "full" or word in PARTS else word for word in command.split())
    done = migbench(*words, *more)
    assert done.status == 0, done.err
    return done


def test_a_limited_run_is_never_starred_and_says_of_how_many_everywhere(
    folder: Path, tmp_path: Path
) -> None:
    """Its average, 100, is above the full run's; and yet it is the best of nothing."""
    scores = {name: score_run(Run(folder / name)).scores for name in ("full", "limited")}
    assert (scores["limited"].macro.at_50 or 0) > (scores["full"].macro.at_50 or 0)

    text = called(folder, "table limited full --published").out
    (row,) = (line for line in text.splitlines() if line.startswith(f"  whole-image {MARK} "))
    assert "*" not in row
    assert "[n of N]" in text
    ours = text.split("Published")[0]
    assert "*" not in ours  # Nor is the full run, which has no other to be compared with.

    markdown = called(folder, "table limited full --format markdown").out
    (row,) = (line for line in markdown.splitlines() if r"\[4 of 10\] " in line and "|" in line)
    assert "**" not in row

    latex = called(folder, "table limited full --format latex").out
    (row,) = (line for line in latex.splitlines() if "{[}4 of 10]" in line and "&" in line)
    assert r"\textbf" not in row

    rows = list(csv.DictReader(io.StringIO(called(folder, "table limited full --format csv").out)))
    assert [(each["n"], each["N"]) for each in rows] == [("4", "10"), ("10", "10")]

    content = json.loads(called(folder, "table limited full --json -").out)
    limited, full = (each["macro"] for each in content.values())
    assert (limited["n"], limited["N"], full["n"], full["N"]) == (4, 10, 10, 10)
    stored = json.loads((folder / "limited" / "scores.json").read_text())
    assert (stored["macro"]["n"], stored["macro"]["N"]) == (4, 10)
    diff = stored["tasks"]["diff"]
    assert (diff["n"], diff["N"]) == (1, 4)

    called(folder, "export limited --to coco --out", tmp_path / "coco")
    info = json.loads((tmp_path / "coco" / "instances.json").read_text())["info"]
    assert (info["n"], info["N"]) == (4, 10)
    assert MARK in info["description"]

    called(folder, "export limited --to fiftyone --out", tmp_path / "fiftyone")
    about = json.loads((tmp_path / "fiftyone" / "metadata.json").read_text())["info"]
    assert (about["n"], about["N"], about["run"]) == (4, 10, f"whole-image {MARK}")

    card = tmp_path / "card.yaml"
    refused = migbench("export", folder / "limited", "--to", "model-index", "--out", card)
    assert refused.status == 2
    assert "was asked 4 of 10 instances" in refused.err
    assert "--partial" in refused.err
    assert not card.exists()
    called(folder, "export limited --to model-index --partial --out", card)
    (model,) = yaml.safe_load(card.read_text())["model-index"]
    assert model["name"] == f"whole-image {MARK}"
    metrics = model["results"][0]["metrics"]
    assert (metrics[0]["args"]["targets"], metrics[0]["args"]["of"]) == (4, 10)
    called(folder, "export full --to model-index --out", card)

    called(folder, "report limited full --out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    (row,) = re.findall(rf'<tr><th scope="row">whole-image {re.escape(MARK)}</th>(.*)</tr>', page)[
        :1
    ]
    assert 'class="best"' not in row
    assert f'<span class="label">whole-image {MARK}</span>' in page


@pytest.mark.parametrize("name", PARTS)
def test_every_way_to_ask_less_is_told(folder: Path, name: str, tmp_path: Path) -> None:
    _, asked = PARTS[name]
    label = f"whole-image [{asked}]"
    for command in (f"table {name} full", f"compare {name} full", f"score {name}"):
        done = called(folder, command)
        assert f"{label}: {asked} instances, run " in done.out  # the note below
        assert "*" not in done.out.replace("* or bold", "")
    assert f"{asked} targets scored again" in called(folder, f"verify {name}").out
    report = json.loads(called(folder, f"verify {name} --json -").out)
    assert f"{report['n']} of {report['N']}" == asked
    plotted = called(folder, f"plot {name} full --kind tasks --out", tmp_path / "tasks.svg")
    assert label in plotted.out
    assert label in (tmp_path / "tasks.svg").read_text()
    assert (
        f"IN PART: {asked}"
        in called(folder, f"export {name} --to csv --out", tmp_path / "t.csv").out
    )


def test_a_table_of_some_tasks_counts_those_alone(folder: Path) -> None:
    """Table 10 is about four tasks: who was asked all of these was asked all of it."""
    scores = score_run(Run(folder / "one-task")).scores
    assert coverage_of(scores) == Coverage(2, 10)
    assert coverage_of(scores, ["object_tracking"]) == Coverage(2, 2)
    assert coverage_of(scores, ["object_tracking", "common_object"]) == Coverage(2, 5)
    assert "[2 of 5]" in called(folder, "table one-task --layout table10").out


def test_published_rows_are_not_held_against_a_part(folder: Path) -> None:
    scores = score_run(Run(folder / "limited")).scores
    source = msgspec.structs.replace(scores.annotations, version="original")
    scores = msgspec.structs.replace(scores, annotations=source)
    beside = set_beside(load_table("table1"), scores, "Migician")
    assert beside.model == f"whole-image {MARK}"
    by_task = {each.column: each for each in beside.columns}
    assert (by_task["diff"].n, by_task["diff"].available) == (1, 4)
    assert all(each.inside is None for each in beside.columns if each.n != each.available)
    assert "not compared, 1 of 4 asked" in reproduction_table(beside)


def test_an_import_says_how_many_of_how_many(folder: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"index": index, "response": "(1,1),(2,2)"}) for index in (0, 1, 5)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    done = migbench(
        *("import", "jsonl", tmp_path / "answers.jsonl", "--profile", "qwen2-vl-7b"),
        *("--annotations", folder / "data" / "data.json", "--out", tmp_path / "run"),
    )
    assert done.status == 0, done.err
    assert done.out.startswith("3 of 10 answers imported")


# --- names ----------------------------------------------------------------------------------------


def test_a_run_has_the_name_that_it_was_given_last(folder: Path, tmp_path: Path) -> None:
    def run(*more: str) -> None:
        done = migbench(
            *("run", "--model", "whole-image", "--data", folder / "data" / "data.json"),
            *("--out", tmp_path / "run", *more),
        )
        assert done.status == 0, done.err

    for options, name in (
        (("--name", "Ours (7B)"), "Ours (7B)"),
        ((), "Ours (7B)"),
        (("--name", "Ours"), "Ours"),
    ):
        run(*options)
        table = migbench("table", tmp_path / "run", folder / "limited").out
        assert f"\n  {name}  " in table
        assert f"{name}: model whole-image, run " in table
    assert migbench("verify", tmp_path / "run").status == 0


def test_tables_take_names_for_their_runs(folder: Path, tmp_path: Path) -> None:
    for command in ("table full limited", "compare full limited"):
        out = called(folder, command, "--names", '"Ours, 7B",Theirs').out
        assert "Ours, 7B" in out
        assert f"Theirs {MARK}" in out
    out = called(folder, "table full limited --names Ours,").out
    assert f"\n  whole-image {MARK} " in out
    out = called(folder, "plot full limited --names A,B --kind tasks --out", tmp_path / "t.pdf").out
    assert f"B {MARK}: " in out
    called(folder, "report full limited --names A,B --out", tmp_path / "page.html")
    assert f"<title>A and B {MARK}</title>" in (tmp_path / "page.html").read_text()
    wrong = migbench("table", folder / "full", "--names", "A,B")
    assert wrong.status == 2
    assert "2 names for 1 runs" in wrong.err
