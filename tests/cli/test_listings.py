"""What commands list is there for programs too, and a wrong name is answered with a likely one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import migbench
from support.report_runs import make_data

from migbench.dialects import load_dialects
from migbench.models.resolving import load_profiles
from migbench.tasks import load_tasks


def listed(*arguments: object) -> object:
    done = migbench(*arguments, "--json", "-")
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_tasks_models_and_published_tables_are_listed_as_json(tmp_path: Path) -> None:
    tasks = listed("tasks")
    assert isinstance(tasks, list)
    assert [each["key"] for each in tasks] == [spec.key for spec in load_tasks()]
    models = listed("models")
    assert isinstance(models, dict)
    assert [each["name"] for each in models["profiles"]] == [*load_profiles()]
    assert [each["name"] for each in models["dialects"]] == [*load_dialects()]
    assert "transformers" in models["adapters"]
    assert models["undeclared"]
    assert listed("published", "list")
    data = make_data(tmp_path / "data")
    assert listed("data", "stats", data.path)
    assert listed("data", "check", data.path)


RUN = "run --data data.json --out new"


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("tabel", "table"),
        ("data chek", "check"),
        ("published shw", "show"),
        (f"{RUN} --model Qwen2-VL7B", "qwen2-vl-7b"),
        (f"{RUN} --model migican", "migician"),
        (f"{RUN} --model whole-image --tasks OT,Regoin", "region"),
        (f"{RUN} --model mine --adapter openai --dialect qwen2vl", "qwen2-vl"),
        ("published show tabel1", "table1"),
    ],
)
def test_a_wrong_name_is_answered_with_a_likely_one(
    command: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_data(tmp_path)
    done = migbench(*command.split())
    assert done.status == 2
    assert meant in done.err.lower().split("did you mean")[1].split("?")[0]


def test_a_name_that_is_like_none_gets_no_guess(tmp_path: Path) -> None:
    make_data(tmp_path)
    done = migbench("run", "--data", tmp_path / "data.json", "--model", "zzzzzz", "--out", "new")
    assert done.status == 2
    assert "no such profile or folder. " in done.err
