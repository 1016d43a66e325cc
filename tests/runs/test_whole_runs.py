"""Runs made in one go have their name when they are complete, and nobody works on them twice."""

from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest
from support.command_line import migbench

from migbench.mini import render
from migbench.runs.locking import lock_run
from migbench.runs.manifest import read_manifest
from migbench.runs.store import Run, RunStore


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=1)
    return folder


@pytest.fixture(scope="module")
def parts(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two shards, which no test changes."""
    folder = tmp_path_factory.mktemp("parts")
    for number in (1, 2):
        done = migbench(
            *("run", "--model", "whole-image", "--data", mini, "--shard", f"{number}/2"),
            *("--out", folder / f"part{number}"),
        )
        assert done.status == 0, done.err
    return folder / "part1", folder / "part2"


def answers(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    lines = [json.dumps({"index": index, "response": text}) for index in range(3)]
    path.write_text("\n".join(lines))
    return path


def take_in(source: Path, mini: Path, out: Path) -> tuple[int, str]:
    done = migbench(
        *("import", "jsonl", source, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "migician", "--out", out),
    )
    return done.status, done.err


def test_answers_of_two_sources_are_two_runs(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert take_in(answers(tmp_path, "one.jsonl", "(1,1),(9,9)"), mini, out)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in ("other.jsonl", "one.jsonl"):
        status, told = take_in(answers(tmp_path, name, "(2,2),(8,8)"), mini, out)
        assert status == 2
        assert f"{out}: is a run already; choose another --out" in told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("step", range(6))
def test_a_merge_that_fails_leaves_nothing_and_can_be_repeated(
    parts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    appended = 0
    append = RunStore.append

    def failing(self: RunStore, line: object) -> None:
        nonlocal appended
        appended += 1
        if appended > step:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.folder))
        append(self, line)  # type: ignore[arg-type]

    out = tmp_path / "merged"
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "append", failing)
        done = migbench("merge", *parts, "--out", out)
    assert done.status == 2
    assert "No space left on device" in done.err
    assert list(tmp_path.iterdir()) == []
    assert migbench("merge", *parts, "--out", out).status == 0
    assert read_manifest(out).status == "complete"
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_what_a_killed_merge_left_is_no_run_and_is_made_anew(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    out, left = tmp_path / "merged", tmp_path / ".merged.partial"
    left.mkdir()
    (left / "answers.jsonl").write_text("half of a")
    (left / "run.json.partial").write_text("{")
    out.mkdir()  # Asked for beforehand, and empty.
    assert migbench("merge", *parts, "--out", out).status == 0
    assert len(Run(out).lines) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert migbench("verify", out).status == 0


def test_two_merges_into_one_folder_do_not_mix(parts: tuple[Path, Path], tmp_path: Path) -> None:
    with lock_run(tmp_path / ".merged.partial"):
        done = migbench("merge", *parts, "--out", tmp_path / "merged")
    assert done.status == 2
    assert "another process is working on this run" in done.err


def test_what_is_left_before_there_is_a_manifest_does_not_stand_in_the_way(
    mini: Path, tmp_path: Path
) -> None:
    """A process that was killed in its first moments."""
    out = tmp_path / "run"
    out.mkdir()
    (out / ".lock").write_text("")
    (out / "run.json.partial").write_text('{"schema"')
    assert migbench("run", "--model", "whole-image", "--data", mini, "--out", out).status == 0
    assert not (out / "run.json.partial").exists()


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_is_refused_until_the_user_vouches_for_being_alone(
    mini: Path,
    parts: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: int,
) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(reason, "no locks here")

    monkeypatch.setattr(fcntl, "flock", none)
    source = answers(tmp_path, "one.jsonl", "(1,1),(9,9)")
    for number, command in enumerate(
        (
            ("run", "--model", "whole-image", "--data", mini),
            ("merge", *parts),
            (
                *("import", "jsonl", source, "--annotations", mini / "MIG_mini.json"),
                *("--profile", "migician"),
            ),
        )
    ):
        out = tmp_path / str(number)
        done = migbench(*command, "--out", out)
        assert done.status == 2
        assert "its file system has no locks" in done.err
        assert "--without-lock" in done.err
        assert not (out / "run.json").exists()
        done = migbench(*command, "--out", out, "--without-lock")
        assert done.status in (0, 1), done.err
        assert migbench("verify", out, "--repair").status == 2
        assert "nothing to repair" in migbench("verify", out, "--repair", "--without-lock").out


def test_a_lock_of_another_kind_is_not_taken_away(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with lock_run(out):
        before = (out / ".lock").stat().st_ino
        done = migbench("run", "--model", "whole-image", "--data", mini, "--out", out)
        assert done.status == 2
        assert (out / ".lock").stat().st_ino == before
