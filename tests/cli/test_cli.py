"""The command line: the ways to score a model, what is printed, and the exit statuses."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pandas
import pytest
from support.command_line import migbench
from support.data_files import record, write_annotations

from migbench.cli import cli
from migbench.data.annotations import read_annotations
from migbench.mini import render
from migbench.runs.store import Run
from migbench.scoring import PROTOCOLS, Flag, Outcome
from migbench.tasks import load_tasks


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=3)
    return folder


@pytest.fixture(scope="module")
def guess(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "guess"
    assert migbench("run", "--model", "whole-image", "--data", mini, "--out", out).status == 0
    return out


def answers_file(mini: Path, path: Path, **changes: object) -> Path:
    """Perfect answers to MIG-Mini as JSON lines, in thousandths."""
    instances = read_annotations(mini / "MIG_mini.json").instances
    lines = []
    for instance in instances:
        x1, y1, x2, y2 = (round(1000 * edge) for edge in instance.box)
        lines.append({"id": instance.id, "response": f"({x1},{y1}),({x2},{y2})", **changes})
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def imported(mini: Path, answers: Path, out: Path, *more: object) -> Path:
    done = migbench(
        *("import", "jsonl", answers, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "mine", "--dialect", "qwen2-vl", "--out", out, *more),
    )
    assert done.status == 0, done.err
    return out


# --- Help ----------------------------------------------------------------------------------------


def test_help_fits_a_screen_and_names_every_command() -> None:
    done = migbench("--help")
    assert len(done.out.splitlines()) < 48
    for command in (
        "run",
        "merge",
        "score",
        "table",
        "compare",
        "verify",
        "rerun",
        "import",
        "data",
        "tasks",
        "models",
    ):
        assert f"  {command} " in done.out


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["merge"],
        ["score"],
        ["table"],
        ["compare"],
        ["verify"],
        ["rerun"],
        ["difficulty", "make"],
        ["import", "released"],
        ["import", "jsonl"],
        ["data", "check"],
        ["data", "stats"],
        ["data", "download"],
        ["data", "mini"],
    ],
)
def test_every_command_shows_an_example(command: list[str]) -> None:
    done = migbench(*command, "--help")
    assert done.status == 0
    assert f"migbench {' '.join(command)}" in done.out.replace("\n", " ")
    assert "Example" in done.out


def test_importing_migbench_is_light() -> None:
    heavy = "torch", "pandas", "transformers", "vllm", "numpy", "aiohttp", "yaml", "click"
    code = f"import sys, migbench; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scoring_loads_neither_torch_nor_pandas(guess: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import migbench; "
        "from migbench.reporting.instance_table import write_instances; "
        f"scored = migbench.score_run(migbench.Run(Path({str(guess)!r}))); "
        f"write_instances(Path({str(tmp_path / 'rows.parquet')!r}), scored); "
        "heavy = 'torch', 'pandas', 'transformers', 'vllm'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_surface_is_what_it_says() -> None:
    import migbench as package

    for name in package.__all__:
        assert getattr(package, name).__module__.startswith("migbench")
    assert set(package.__all__) == set(package._HOME)
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018


# --- Running -------------------------------------------------------------------------------------


def test_a_run_folder_holds_everything(guess: Path) -> None:
    names = {path.name for path in guess.iterdir()} - {".lock"}
    assert names == {"run.json", "answers.jsonl", "scores.json", "instances.parquet"}
    manifest = json.loads((guess / "run.json").read_text())
    assert manifest["status"] == "complete"
    assert [manifest[count] for count in ("questions", "answered", "failed")] == [30, 30, 0]
    assert manifest["settings"]["annotations"]["version"] == "custom"
    assert set(manifest["settings"]["tasks"]) == {spec.key for spec in load_tasks()}
    assert manifest["environment"]["packages"]["numpy"]


def test_tasks_and_limit_choose_what_is_asked(mini: Path, tmp_path: Path) -> None:
    done = migbench(
        *("run", "--model", "centre", "--data", mini, "--out", tmp_path / "run"),
        *("--tasks", "OT,region", "--limit", "2", "--json", "-"),
    )
    scores = json.loads(done.out)
    assert {key: task["n"] for key, task in scores["tasks"].items()} == {
        "object_tracking": 2,
        "region": 2,
    }
    assert scores["macro"]["tasks"] == 2


def test_a_dry_run_says_what_would_be_asked_and_asks_nothing(mini: Path, tmp_path: Path) -> None:
    done = migbench("run", "--model", "migician", "--data", mini, "--dry-run")
    assert done.status == 0
    assert "Don't generate addtional words." in done.out
    last = next(line.split() for line in done.out.splitlines() if line.startswith("all "))
    instances = read_annotations(mini / "MIG_mini.json").instances
    assert last[1:3] == ["30", "30"]
    assert last[4:] == ["30", str(sum(len(instance.images) for instance in instances))]


def test_a_python_class_is_a_model(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(
        "class MyModel:\n"
        "    def __init__(self, width=10):\n"
        "        self.width = width\n"
        "    def answer(self, request):\n"
        "        assert len(request.images) >= 2\n"
        "        assert all(image.open().mode == 'RGB' for image in request.images)\n"
        "        return f'<box>[[0,0,{self.width},1000]]</box>'\n"
    )
    done = migbench(
        *("run", "--model", "mine", "--adapter", f"{tmp_path / 'my_model.py'}:MyModel"),
        *("--model-arg", "width=500", "--dialect", "internvl"),
        *("--data", mini, "--out", tmp_path / "run"),
    )
    assert done.status == 0, done.err
    frame = pandas.read_parquet(tmp_path / "run" / "instances.parquet")
    assert set(frame.answer) == {"<box>[[0,0,500,1000]]</box>"}
    assert set(frame.box_x2) == {0.5}


def test_a_third_partys_adapter_is_found_by_entry_point(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "theirs-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[migbench.model_adapters]\ntheirs = theirs:Model\n")
    (tmp_path / "site" / "theirs.py").write_text(
        "class Model:\n    def answer(self, request):\n        return '(1,2),(3,4)'\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    done = migbench(
        *("run", "--model", "m", "--adapter", "theirs", "--dialect", "qwen2-vl"),
        *("--data", mini, "--out", tmp_path / "run", "--limit", "1"),
    )
    assert done.status == 0, done.err
    assert "theirs" in migbench("models").out


def test_a_dialect_can_be_declared(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "class M:\n    def answer(self, request):\n        return '[100, 200, 300, 400]'\n"
    )
    done = migbench(
        *("run", "--model", "m", "--adapter", f"{tmp_path / 'm.py'}:M", "--dialect", "custom"),
        *("--box-order", "yxyx", "--box-scale", "1000", "--box-syntax", "quad"),
        *("--box-format", "Answer with [top, left, bottom, right]."),
        *("--data", mini, "--out", tmp_path / "run", "--limit", "1"),
    )
    assert done.status == 0, done.err
    row = pandas.read_parquet(tmp_path / "run" / "instances.parquet").iloc[0]
    assert [row.box_x1, row.box_y1, row.box_x2, row.box_y2] == [0.2, 0.1, 0.4, 0.3]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--model", "no-such"], "`migbench models` lists the profiles"),
        (["--model", "owner/hub-id"], "--dialect NAME"),
        (["--model", "whole-image", "--tasks", "nothing"], "choose from diff (Static)"),
        (["--model", "whole-image", "--adapter", "nothing"], "choose from baseline"),
        (["--model", "m", "--adapter", "no.py:M", "--dialect", "qwen2-vl"], "no file no.py"),
        (["--model", "whole-image", "--model-arg", "colour=1"], "has no setting colour"),
        (["--model", "whole-image", "--batch-size", "auto"], "has no setting batch_size"),
        (["--model", "whole-image", "--batch-size", "0"], "--batch-size 0: give a whole number"),
        (["--model", "whole-image", "--model-arg", "colour"], "KEY=VALUE"),
        (["--model", "m", "--adapter", "baseline", "--dialect", "qwen2-vl"], "answer=..."),
        (["--model", "whole-image", "--dialect", "klingon"], "choose from claude"),
        (["--model", "whole-image", "--dialect", "custom"], "also needs --box-order"),
        (["--model", "whole-image", "--box-order", "xyxy"], "add --dialect custom"),
        (["--model", "whole-image", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_a_remedy(
    mini: Path, tmp_path: Path, arguments: list[str], remedy: str
) -> None:
    done = migbench("run", "--data", mini, "--out", tmp_path / "run", *arguments)
    assert done.status == 2
    assert remedy in done.err
    assert "Traceback" not in done.err


def test_a_run_needs_a_place(mini: Path) -> None:
    done = migbench("run", "--model", "whole-image", "--data", mini)
    assert done.status == 2
    assert "--out" in done.err


# --- Importing and scoring -----------------------------------------------------------------------


def test_perfect_answers_score_a_hundred(mini: Path, tmp_path: Path) -> None:
    run = imported(mini, answers_file(mini, tmp_path / "a.jsonl"), tmp_path / "run")
    for protocol in PROTOCOLS:
        done = migbench("score", run, "--protocol", protocol, "--json", tmp_path / "s.json")
        assert done.status == 0
        scores = json.loads((tmp_path / "s.json").read_text())
        assert scores["protocol"] == protocol
        assert {task["acc@0.7"] for task in scores["tasks"].values()} == {100.0}
        assert scores["macro"]["mean_iou"] > 0.97


def test_whatever_scores_a_run_offers_every_protocol() -> None:
    offered = {
        name: tuple(option.type.choices)
        for name, command in every_command(cli, "")
        for option in command.params
        if option.name == "protocol" and isinstance(option.type, click.Choice)
    }
    named = "run score table compare plot report view export published-show difficulty-make"
    assert offered == dict.fromkeys(named.split(), tuple(PROTOCOLS))


def every_command(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name}-")
        elif command is not None:
            yield prefix + name, command


def test_the_scores_file_has_every_key(guess: Path, tmp_path: Path) -> None:
    migbench("score", guess, "--json", tmp_path / "s.json")
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {"protocol", "annotations", "corrections", "tasks", "macro"} <= set(scores)
    assert list(scores["tasks"]) == [spec.key for spec in load_tasks()]
    for task in scores["tasks"].values():
        assert {"n", "acc@0.3", "acc@0.5", "acc@0.7", "mean_iou", "outcomes"} <= set(task)
        assert set(task["outcomes"]) == {outcome.value for outcome in Outcome}
        assert set(task["flags"]) == {flag.value for flag in Flag}
    mean = sum(task["acc@0.5"] for task in scores["tasks"].values()) / 10
    assert scores["macro"]["acc@0.5"] == pytest.approx(mean)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_one_row_a_target_can_be_written(guess: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    assert migbench("score", guess, "--instances", path).status == 0
    read = pandas.read_parquet if ending == "parquet" else pandas.read_csv
    frame = read(path)
    assert len(frame) == 30
    assert {"id", "index", "task", "iou", "outcome", "answer"} <= set(frame.columns)
    assert sorted(frame["index"]) == list(range(30))


def test_answers_that_are_missing_leave_the_run_incomplete(mini: Path, tmp_path: Path) -> None:
    path = answers_file(mini, tmp_path / "a.jsonl")
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    run = imported(mini, path, tmp_path / "run")
    done = migbench("score", run, "--json", tmp_path / "s.json")
    assert done.status == 1
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["macro"]["outcomes"]["model_error"] == 1
    assert scores["macro"]["acc@0.5"] is None
    assert "INCOMPLETE" in done.out
    accepted = migbench("score", run, "--accept-model-errors", "--json", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["macro"]["acc@0.5"] > 90
    assert "counted as misses" in accepted.out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "nobody", "response": ""}', ":31: no instance with id 'nobody'"),
        ('{"index": 3000, "response": ""}', ":31: no instance"),
        ('{"response": "(1,2),(3,4)"}', ":31: no instance"),
        ('{"index": 0, "response": ""}', ":31: "),
        ('{"index": 0}', ":31: "),
        ("{", ":31: "),
        ('{"id": 5, "response": ""}', ":31: Expected `str | null`"),
    ],
)
def test_a_bad_line_of_an_import_is_named(
    mini: Path, tmp_path: Path, line: str, complaint: str
) -> None:
    path = answers_file(mini, tmp_path / "a.jsonl")
    path.write_text(path.read_text() + line + "\n")
    done = migbench(
        *("import", "jsonl", path, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "migician", "--out", tmp_path / "run"),
    )
    assert done.status == 2
    assert complaint in done.err
    assert not (tmp_path / "run").exists()


def test_lines_may_name_instances_by_place(mini: Path, tmp_path: Path) -> None:
    by_id = answers_file(mini, tmp_path / "a.jsonl").read_text().splitlines()
    places = [
        {"index": place, "response": json.loads(line)["response"]}
        for place, line in enumerate(by_id)
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, reversed(places))))
    run = imported(mini, tmp_path / "b.jsonl", tmp_path / "run")
    assert migbench("score", run, "--json", tmp_path / "s.json").status == 0
    assert json.loads((tmp_path / "s.json").read_text())["macro"]["acc@0.5"] == 100.0


def test_a_moved_annotation_file_is_asked_for_and_checked(mini: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.json"
    here.write_bytes((mini / "MIG_mini.json").read_bytes())
    answers = answers_file(mini, tmp_path / "a.jsonl")
    done = migbench(
        *("import", "jsonl", answers, "--annotations", here),
        *("--profile", "qwen2-vl-7b", "--out", tmp_path / "run"),
    )
    assert done.status == 0, done.err
    there = here.rename(tmp_path / "there.json")
    assert "pass --annotations" in migbench("score", tmp_path / "run").err
    assert migbench("score", tmp_path / "run", "--annotations", there).status == 0
    there.write_text(there.read_text() + "\n")  # The same records.
    assert migbench("score", tmp_path / "run", "--annotations", there).status == 0
    there.write_text(there.read_text().replace("need_format", "format"))
    done = migbench("score", tmp_path / "run", "--annotations", there)
    assert done.status == 2
    assert "must not be mixed" in done.err


def test_a_correction_is_applied_unless_switched_off_and_always_named(
    mini: Path, tmp_path: Path
) -> None:
    answers = answers_file(mini, tmp_path / "a.jsonl")
    migbench(
        *("import", "jsonl", answers, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "migician", "--out", tmp_path / "run"),
    )
    with_it = migbench("score", tmp_path / "run", "--json", tmp_path / "with.json")
    without = migbench(
        "score", tmp_path / "run", "--corrections", "none", "--json", tmp_path / "without.json"
    )
    assert "y scaling ×1.05, ×1.10" in with_it.out
    assert "corrections none" in without.out
    scores = {
        name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("with", "without")
    }
    assert scores["with"]["macro"]["mean_iou"] < scores["without"]["macro"]["mean_iou"]


# --- Tables --------------------------------------------------------------------------------------


def test_the_table_has_table_1s_columns_and_marks_the_best(
    mini: Path, guess: Path, tmp_path: Path
) -> None:
    perfect = imported(mini, answers_file(mini, tmp_path / "a.jsonl"), tmp_path / "perfect")
    done = migbench("table", perfect, guess, "--published")
    assert done.status == 0
    header = next(line for line in done.out.splitlines() if line.startswith("Model "))
    assert header.split()[1:] == [*(spec.column for spec in load_tasks()), "AVE"]
    mine = next(line for line in done.out.splitlines() if line.strip().startswith("mine"))
    assert mine.split()[1:] == ["*100.00"] * 11
    # Published rows are on other annotations: a hundred per cent here takes no best mark from them.
    migician = next(line for line in done.out.splitlines() if line.strip().startswith("Migician "))
    figures = "*65.15 46.81 *84.19 *70.73 60.07 *74.31 76.77 66.53 59.41 34.19 *63.82"
    assert migician.split()[1:] == figures.split()
    assert "protocol standard" in done.out
    assert "MIG_mini.json" in done.out


def test_the_average_is_given_for_complete_rows_only(mini: Path, tmp_path: Path) -> None:
    migbench(
        *("run", "--model", "centre", "--data", mini, "--out", tmp_path / "run", "--tasks", "OT")
    )
    done = migbench("table", tmp_path / "run", "--format", "csv")
    row = next(csv.DictReader(io.StringIO(done.out)))
    assert row["average"] == ""
    assert row["object_tracking"] != ""
    assert row["region"] == ""


def test_table_formats(guess: Path) -> None:
    markdown = migbench("table", guess, "--published", "--format", "markdown").out
    assert "**63.82**" in markdown
    latex = migbench("table", guess, "--published", "--format", "latex").out
    assert r"\multicolumn{4}{c}{Visual Reference}" in latex
    assert r"\textbf{63.82}" in latex
    rows = list(csv.reader(io.StringIO(migbench("table", guess, "--format", "csv").out)))
    assert len(rows) == 2
    assert len(set(map(len, rows))) == 1


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "migbench", "tasks"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 12


@pytest.mark.parametrize("half", ["\\ud83d", "\\udc00", "\\ud83d\\ud83d"])
def test_an_imported_answer_may_hold_half_a_surrogate_pair(half: str, tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path / "annotations.json", record())
    answers = tmp_path / "answers.jsonl"
    answers.write_text(f'{{"index": 0, "response": "[1, 2, 3, 4] {half}"}}\n')
    common = ("--annotations", annotations, "--profile", "m", "--dialect", "qwen3-vl")
    done = migbench("import", "jsonl", answers, *common, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    (line,) = Run(tmp_path / "run").lines.values()
    assert line.text == f"[1, 2, 3, 4] {half}"


# --- Going on ------------------------------------------------------------------------------------


def test_a_run_grows_by_limit_tasks_and_instances(mini: Path, tmp_path: Path) -> None:
    def ask(*options: object) -> tuple[int, str, int]:
        done = migbench("run", "--model", "whole-image", "--data", mini, "--out", out, *options)
        return done.status, done.out + done.err, len(Run(out).lines) if out.exists() else 0

    out = tmp_path / "run"
    first, second = [each.id for each in read_annotations(mini / "MIG_mini.json").instances][:2]
    assert ask("--instance", first)[0::2] == (0, 1)
    assert ask("--instance", first, "--instance", second)[0::2] == (0, 2)
    assert ask("--limit", "2", "--tasks", "static,OT")[0] == 2  # Not all that was asked.
    assert ask()[0::2] == (0, 30)
    assert migbench("verify", out).status == 0
    status, told, _ = ask("--limit", "1")
    assert (status, "limit: was None, is now 1" in told) == (2, True)
    status, told, _ = ask()
    assert (status, "every question is answered already; no model was started" in told) == (0, True)


def test_an_unknown_instance_is_named_with_those_that_are_alike(mini: Path, tmp_path: Path) -> None:
    known = read_annotations(mini / "MIG_mini.json").instances[0].id
    done = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", tmp_path / "run"),
        *("--instance", f"{known}x"),
    )
    assert (done.status, f"there is {known}" in done.err) == (2, True)


def test_nothing_remains_of_a_model_that_does_not_start(mini: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "broken.py"
    adapter.write_text("class Broken:\n    def __init__(self):\n        raise OSError('no GPU')\n")
    run = ("run", "--model", "mine", "--dialect", "qwen2-vl", "--data", mini)
    out = tmp_path / "results" / "run"
    done = migbench(*run, "--adapter", f"{adapter}:Broken", "--out", out)
    assert (done.status, "no GPU" in done.err) == (2, True)
    assert not out.parent.exists()
