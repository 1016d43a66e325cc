"""A run that somebody else made is data: what it names is not run, asked, sent or read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.audited import audited
from support.command_line import migbench
from support.sealed import edit_manifest

from migbench.mini import render
from migbench.runs.manifest import read_manifest
from migbench.runs.ownership import is_own, key_file

MODEL = """
class Model:
    def __init__(self, **settings):
        pass

    def answer(self, request):
        return "(100,100),(500,500)"
"""
SECRET = "canary-of-the-environment"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=1)
    return folder


def ask(adapter: Path, data: Path, out: Path, *options: object) -> None:
    done = migbench(
        *("run", "--model", "mine", "--adapter", f"{adapter}:Model", "--dialect", "qwen2-vl"),
        *("--data", data, "--out", out, *options),
    )
    assert done.status == 0, done.err


@pytest.fixture
def theirs(mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a stranger sends it, with canaries; the data are where both have them.

    ``run`` and the shards ``part1`` and ``part2`` name ``canary.py``, a server, a variable and the
    folder ``private``, which holds images of the right names.
    """
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "their-config"))
    for name, options in (
        ("run", ()),
        ("part1", ("--shard", "1/2")),
        ("part2", ("--shard", "2/2")),
    ):
        ask(tmp_path / "model.py", mini, tmp_path / name, *options)
        name_canaries(tmp_path / name, tmp_path)
    (tmp_path / "canary.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w').close()\n{MODEL}"
    )
    shutil.copytree(mini, tmp_path / "private")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "my-config"))
    monkeypatch.setenv("CANARY_VARIABLE", SECRET)
    return tmp_path


def name_canaries(run: Path, folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"] = str(folder / "private")
        content["environment"] |= {"folder": str(folder), "adapter": None}
        content["settings"]["model"] |= {
            "adapter": "canary.py:Model",
            "checkpoint": str(folder / "private"),
            "settings": {
                "base_url": "http://127.0.0.1:9/v1",
                "api_key_env": "CANARY_VARIABLE",
            },
        }

    edit_manifest(run, change)


def commands(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every command that takes a stored run, by name."""
    run = folder / "run"
    return {
        "score": ("score", run, "--instances", folder / "rows.csv"),
        "table": ("table", run),
        "compare": ("compare", run, folder / "part1"),
        "verify": ("verify", run),
        "verify requests": ("verify", run, "--requests"),
        "doctor": ("doctor", "--run", run),
        "report": ("report", run, "--out", folder / "page.html"),
        "report linked": ("report", run, "--out", folder / "page.html", "--images", "link"),
        "plot": ("plot", run, "--kind", "tasks", "--out", folder / "plot.svg"),
        "coco": ("export", run, "--to", "coco", "--out", folder / "coco"),
        "fiftyone": ("export", run, "--to", "fiftyone", "--out", folder / "51"),
        "fiftyone copied": (
            *("export", run, "--to", "fiftyone", "--out", folder / "51"),
            "--copy-images",
        ),
        "csv": ("export", run, "--to", "csv", "--out", folder / "rows.csv"),
        "merge": ("merge", folder / "part1", folder / "part2", "--out", folder / "merged"),
        "rerun": ("rerun", run, "--out", folder / "again"),
        "rerun accepting": ("rerun", run, "--out", folder / "again", "--accept-changes"),
    }


@pytest.mark.parametrize("name", commands(Path()))
def test_no_command_runs_asks_sends_or_reads_what_a_received_run_names(
    theirs: Path, name: str
) -> None:
    with audited() as audit:
        done = migbench(*commands(theirs)[name])
    assert "Traceback" not in done.err
    assert not (theirs / "executed").exists()
    assert audit.below(theirs / "private") == []
    assert audit.below(theirs / "canary.py") == []
    assert audit.connected == []
    assert SECRET not in done.out + done.err
    assert not (theirs / "again").exists()
    if name.startswith("report"):
        assert "data:image/jpeg" not in (theirs / "page.html").read_text()


def test_the_viewer_serves_no_image_of_a_received_run(theirs: Path) -> None:
    from migbench.cli.report import make_page, score_runs
    from migbench.reporting.html.viewer import Content

    options: dict[str, Any] = {
        "protocol": "standard",
        "corrections": "profile",
        "annotations": None,
        "image_folder": None,
        "accept_model_errors": False,
        "difficulty": None,
        "bootstrap": None,
        "title": None,
        "names": (),
        "published": False,
        "seed": 0,
    }
    content = Content(
        [theirs / "run"],
        lambda pictures, state: make_page(
            score_runs([theirs / "run"], options), pictures, options, state
        ),
    )
    with audited() as audit:
        content.page()
    assert audit.below(theirs / "private") == []
    assert all(image.find().path is None for image in content._images)


def test_a_refused_repetition_names_all_that_it_would_use_and_the_options(theirs: Path) -> None:
    done = migbench("rerun", theirs / "run", "--out", theirs / "again")
    assert done.status == 2
    for option in (
        "--trust-adapter FILE.py",
        f"--checkpoint {theirs / 'private'}",
        "--endpoint http://127.0.0.1:9/v1",
        "--model-arg api_key_env=CANARY_VARIABLE",
        "--images FOLDER, or --data",
    ):
        assert option in done.err


def test_shown_images_are_asked_for_by_the_option(theirs: Path, mini: Path) -> None:
    page = ("report", theirs / "run", "--out", theirs / "page.html")
    done = migbench(*page)
    assert f"images below {theirs / 'private'} are not read" in done.err
    assert "--image-folder" in done.err
    assert migbench(*page, "--image-folder", mini).err == ""
    assert "data:image/jpeg" in (theirs / "page.html").read_text()


def test_a_received_run_is_repeated_with_what_the_user_names(theirs: Path, mini: Path) -> None:
    done = migbench(
        *("rerun", theirs / "run", "--out", theirs / "again", "--data", mini, "--accept-changes"),
        *("--trust-adapter", theirs / "model.py", "--checkpoint", "mine"),
        *("--endpoint", "http://127.0.0.1:9/v1", "--model-arg", "api_key_env=CANARY_VARIABLE"),
    )
    assert done.status == 0, done.err
    assert f"rerun: loads adapter {theirs / 'model.py'}:Model" in done.err
    assert f"with images below {mini}" in done.err
    assert not (theirs / "executed").exists()
    assert is_own(read_manifest(theirs / "again"))


# --- Whose run it is -----------------------------------------------------------------------------


def test_a_run_is_its_makers_own_until_a_place_in_it_is_edited(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    ask(tmp_path / "model.py", mini, tmp_path / "run")
    assert key_file().stat().st_mode & 0o077 == 0
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    assert is_own(read_manifest(moved))
    path = moved / "run.json"
    content = json.loads(path.read_text())
    content["images"] = str(tmp_path)
    path.write_text(json.dumps(content))
    assert not is_own(read_manifest(moved))


def test_a_merged_run_is_own_if_its_shards_are(theirs: Path, mini: Path) -> None:
    mine = theirs / "mine"
    mine.mkdir()
    for number in (1, 2):
        ask(theirs / "model.py", mini, mine / f"part{number}", "--shard", f"{number}/2")
    parts = (mine / "part1", mine / "part2")
    assert migbench("merge", *parts, "--out", mine / "merged").status == 0
    assert is_own(read_manifest(mine / "merged"))
    parts = (theirs / "part1", theirs / "part2")
    assert migbench("merge", *parts, "--out", theirs / "merged").status == 0
    assert not is_own(read_manifest(theirs / "merged"))


def test_without_a_place_for_the_key_a_run_is_made_and_counts_as_received(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    (tmp_path / "model.py").write_text(MODEL)
    ask(tmp_path / "model.py", mini, tmp_path / "run")
    assert read_manifest(tmp_path / "run").mark is None
    assert not is_own(read_manifest(tmp_path / "run"))


# --- The adapter's file --------------------------------------------------------------------------


def test_an_adapter_is_held_against_its_hash_before_it_runs(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file is gone, one of the same name below the working folder is not it."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "model.py").write_text(MODEL)
    monkeypatch.chdir(here)
    ask(Path("model.py"), mini, tmp_path / "run")
    (there / "model.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n{MODEL}")
    (here / "model.py").rename(here / "moved.py")
    monkeypatch.chdir(there)
    refused = migbench("rerun", tmp_path / "run")
    assert refused.status == 2
    assert f"no file {here / 'model.py'}" in refused.err
    refused = migbench("rerun", tmp_path / "run", "--trust-adapter", there / "model.py")
    assert refused.status == 2
    assert f"adapter {there / 'model.py'}:Model: is another than answered" in refused.err
    assert not (tmp_path / "executed").exists()
    done = migbench("rerun", tmp_path / "run", "--trust-adapter", here / "moved.py")
    assert done.status == 0, done.err
