"""Run folders whose names are not UTF-8: every command works on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command_line import migbench

from migbench.mini import render

NAME = os.fsdecode(b"caf\xe9-\xff\xfe")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, and a folder of such a name with a run and two shards."""
    folder = tmp_path_factory.mktemp("place")
    render(folder / "mini", per_task=1)
    return folder


@pytest.fixture(scope="module")
def made(place: Path) -> Path:
    odd = place / NAME
    run = ("run", "--model", "whole-image", "--data", place / "mini")
    assert migbench(*run, "--out", odd / "run").status == 0
    for number in (1, 2):
        done = migbench(*run, "--out", odd / f"part{number}", "--shard", f"{number}/2")
        assert done.status == 0, done.err
    return odd


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--model", "whole-image", "--data", "mini", "--out", f"{NAME}/run"),
        ("score", f"{NAME}/run", "--json", f"{NAME}/s.json", "--instances", f"{NAME}/i.csv"),
        ("score", f"{NAME}/run", "--instances", f"{NAME}/i.parquet"),
        ("table", f"{NAME}/run"),
        ("compare", f"{NAME}/run", f"{NAME}/part1"),
        ("verify", f"{NAME}/run"),
        ("verify", f"{NAME}/run", "--json", "-"),
        ("doctor", "--run", f"{NAME}/run", "--json", "-"),
        ("report", f"{NAME}/run", "--out", f"{NAME}/page.html"),
        ("report", f"{NAME}/run", "--out", f"{NAME}/page.html", "--images", "link"),
        ("plot", f"{NAME}/run", "--kind", "tasks", "--out", f"{NAME}/plot.svg"),
        ("export", f"{NAME}/run", "--to", "coco", "--out", f"{NAME}/coco"),
        ("export", f"{NAME}/run", "--to", "fiftyone", "--out", f"{NAME}/51", "--copy-images"),
        ("export", f"{NAME}/run", "--to", "csv", "--out", f"{NAME}/rows.csv"),
        ("merge", f"{NAME}/part1", f"{NAME}/part2", "--out", f"{NAME}/merged"),
        ("rerun", f"{NAME}/run"),
    ],
    ids=lambda command: " ".join(command[:1]),
)
def test_every_command_takes_a_folder_whose_name_is_not_utf_8(
    place: Path, made: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(place)
    done = migbench(*command)
    assert "Traceback" not in done.err
    # A baseline's boxes are all the same one, of which the doctor complains.
    assert done.status == (1 if command[0] == "doctor" else 0), done.err


def test_findings_about_such_a_folder_can_be_had_as_json(
    place: Path, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place)
    answers = made / "part1" / "answers.jsonl"
    before = answers.read_bytes()
    answers.write_bytes(before.replace(b"999", b"998", 1))
    try:
        done = migbench("verify", f"{NAME}/part1", "--json", tmp_path / "found.json")
        assert done.status == 2
        assert "is not what was stored" in (tmp_path / "found.json").read_text()
    finally:
        answers.write_bytes(before)
