"""What commands print about a stranger's run: no byte of it moves a cursor or forges a line."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from support.command_line import Done, migbench
from support.report_runs import make_data, make_run, small_records, truth

import migbench as package
from migbench.data.annotations import Annotations

ATTACK = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\u2066\u200b\rAVE 99\nFORGED a line\u2028"
"""In names, answers and errors: clears the screen, reorders, overwrites, and begins a line."""
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs whose model, answers and first error are the attack."""
    folder = tmp_path_factory.mktemp("printed")
    records = [{**each, "question": f"{each['question']} {ATTACK}"} for each in small_records()]
    data = make_data(folder / "data", records)
    for name in ("a", "b"):
        stored_run(folder / name, data)
    return folder


def stored_run(out: Path, data: Annotations) -> None:
    make_run(out, data, lambda each: f"{ATTACK}{truth(each)}" if each.index else None)
    rewrite(out, lambda manifest: manifest["settings"]["model"].update(name=f"mine {ATTACK}"))
    lines = [
        json.loads(line) for line in (out / "answers.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    for line in lines:
        line["error"] = line.get("error") and f"the server said {ATTACK}"
    (out / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def rewrite(out: Path, change: Any) -> None:
    manifest = json.loads((out / "run.json").read_text())
    change(manifest)
    (out / "run.json").write_text(json.dumps(manifest))


def refuse_control(done: Done) -> None:
    for printed in (done.out, done.err):
        found = {hex(ord(each)) for each in printed if category(each) in INVISIBLE} - {"0xa"}
        assert not found, printed
        assert not any(line.startswith(("FORGED", "AVE 99")) for line in printed.splitlines())
        assert "Traceback" not in printed


COMMANDS = {
    "score": "score a",
    "score-json": "score a --json -",
    "table": "table a b",
    "table-markdown": "table a b --format markdown",
    "table-latex": "table a b --format latex",
    "table-with-intervals": "table a b --intervals --accept-model-errors",
    "compare": "compare a b --accept-model-errors",
    "compare-json": "compare a b --json -",
    "verify": "verify a",
    "verify-json": "verify a --json -",
    "doctor": "doctor --run a",
    "plot": "plot a b --accept-model-errors --kind tasks --out t.svg",
    "plot-forms": "plot a --accept-model-errors --kind forms --out f.svg",
    "report": "report a b --out page.html",
    "export": "export a --to model-index --accept-model-errors --out card.yaml",
    "rerun": "rerun a --out again",
    "rerun-accepted": "rerun a --out again --accept-changes",
    "dry-run": "run --model whole-image --data data/data.json --out new --dry-run",
    "data-check": "data check data",
    "data-stats": "data stats data",
    "published": "published show table1 --run a",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_from_elsewhere_prints_no_control(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(folder)
    done = migbench(*COMMANDS[command].split())
    refuse_control(done)
    assert done.out or done.err
    if command in ("score", "table", "compare", "doctor"):
        assert r"mine \x1b[2J" in done.out


def test_csv_is_printed_line_by_line(folder: Path) -> None:
    """Its cells may hold line breaks, in quotes, and nothing else that is not seen."""
    done = migbench("table", folder / "a", "--format", "csv")
    assert done.status == 1
    assert not {each for each in done.out if category(each) in INVISIBLE} - {"\n"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["score", f"no{ATTACK}"], id="folder"),
        pytest.param(["table", "a", "--layout", ATTACK], id="choice"),
        pytest.param(["data", "check", ATTACK], id="data"),
        pytest.param([ATTACK], id="command"),
        pytest.param(["run", "--model", ATTACK, "--data", "data", "--out", "x"], id="model"),
        pytest.param(
            ["--debug", "run", "--model", ATTACK, "--data", "data", "--out", "x"], id="debug"
        ),
    ],
)
def test_errors_print_no_control(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(folder)
    done = migbench(*arguments)
    assert done.status == 2
    for letter in done.out + done.err:
        assert letter == "\n" or category(letter) not in INVISIBLE


@pytest.mark.parametrize("field", ["evaluator", "strategy", "prompts"])
def test_a_damaged_manifest_is_named_without_its_control(tmp_path: Path, field: str) -> None:
    stored_run(tmp_path / "run", make_data(tmp_path / "data"))
    rewrite(tmp_path / "run", lambda manifest: manifest["settings"].update({field: ATTACK}))
    for command in ("score", "verify", "table"):
        refuse_control(migbench(command, tmp_path / "run"))


def test_annotations_are_checked_without_their_control(tmp_path: Path) -> None:
    records = small_records()
    records[0]["images"] = [f"images/{ATTACK}.png"]
    records[1]["task"] = ATTACK
    records[2]["answer"] = ATTACK
    path = tmp_path / "data.json"
    path.write_text(json.dumps(records))
    for command in ("check", "stats"):
        refuse_control(migbench("data", command, path, "--scale", "1"))


def test_the_page_of_a_hostile_name_shows_it(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert migbench("report", folder / "a", "--out", page).status == 1
    html = page.read_text(encoding="utf-8")
    assert r"<h1>mine \x1b[2J" in html
    markup, _, _ = html.partition('id="data">')
    assert not {letter for letter in markup if category(letter) in INVISIBLE} - {"\n", "\t"}


def test_only_one_module_prints() -> None:
    """Every other one would have to escape by itself."""
    root = Path(package.__file__).parent
    printing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        if ast.unparse(node.func)
        in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")
    }
    assert printing == {"cli/terminal.py"}
