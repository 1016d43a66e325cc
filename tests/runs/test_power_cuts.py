"""A power cut takes what the disk was not yet made to take: the last moment, and no more."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.command_line import migbench

from migbench.mini import render
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.store import RunStore
from migbench.util import durable_file

SLOW = """
import time

class Model:
    def answer(self, request):
        time.sleep(0.01)
        return "(100,100),(500,500)"
"""
EVERY = 0.03


@dataclass
class Disk:
    """What would be there after a power cut: of every file, what was forced to the disk.

    ``cuts`` holds the manifest and the answers at every moment at which an answer had landed, and
    how many had.
    """

    forced: dict[int, int] = field(default_factory=dict)
    cuts: list[tuple[bytes, bytes, int]] = field(default_factory=list)

    def fsync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            self.forced[status.st_ino] = status.st_size

    def cut(self, run: Path) -> None:
        manifest, answers = run / "run.json", run / "answers.jsonl"
        # A manifest has its name only after all of it was forced.
        assert self.forced[manifest.stat().st_ino] == manifest.stat().st_size
        content = answers.read_bytes()
        there = content[: self.forced.get(answers.stat().st_ino, 0)]
        self.cuts.append((manifest.read_bytes(), there, content.count(b"\n")))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    fsync, append, finish = os.fsync, RunStore.append, RunStore.finish

    def forcing(descriptor: int) -> None:
        disk.fsync(descriptor)
        fsync(descriptor)

    def appending(self: RunStore, line: AnswerLine) -> None:
        append(self, line)
        disk.cut(self.folder)

    def finishing(self: RunStore, *arguments: object, **options: object) -> None:
        finish(self, *arguments, **options)  # type: ignore[arg-type]
        disk.cut(self.folder)

    monkeypatch.setattr(os, "fsync", forcing)
    monkeypatch.setattr(RunStore, "append", appending)
    monkeypatch.setattr(RunStore, "finish", finishing)
    monkeypatch.setattr(durable_file, "EVERY", EVERY)
    return disk


def test_a_power_cut_takes_the_last_moment_alone(tmp_path: Path, disk: Disk) -> None:
    render(tmp_path / "mini", per_task=4)
    (tmp_path / "model.py").write_text(SLOW)
    command = (
        *("run", "--model", "mine", "--adapter", f"{tmp_path / 'model.py'}:Model"),
        *("--dialect", "qwen2-vl", "--data", tmp_path / "mini", "--out", tmp_path / "run"),
    )
    assert migbench(*command).status == 0
    *under_way, (_, finished, count) = disk.cuts
    assert finished.count(b"\n") == count == 40
    # 0.01 s an answer, so that a few groups went to the disk on the way.
    assert len({len(there) for _, there, _ in under_way}) > 3
    assert max(there.count(b"\n") for _, there, _ in under_way) > 10
    for manifest, there, _ in disk.cuts[::8]:
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_bytes(manifest)
        (tmp_path / "run" / "answers.jsonl").write_bytes(there)
        done = migbench("verify", tmp_path / "run")
        assert done.status in (0, 1), done.out
        assert migbench(*command).status == 0
        assert (tmp_path / "run" / "answers.jsonl").read_bytes().startswith(there)
        assert migbench("verify", tmp_path / "run").status == 0


def test_an_answer_that_the_disk_did_not_take_ends_the_run_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of it once, when it is forced; later writes would seem to succeed."""
    render(tmp_path / "mini", per_task=4)
    (tmp_path / "model.py").write_text(SLOW)
    answers = tmp_path / "run" / "answers.jsonl"
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if answers.exists() and os.fstat(descriptor).st_ino == answers.stat().st_ino:
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    command = (
        *("run", "--model", "mine", "--adapter", f"{tmp_path / 'model.py'}:Model"),
        *("--dialect", "qwen2-vl", "--data", tmp_path / "mini", "--out", tmp_path / "run"),
    )
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        done = migbench(*command)
    assert done.status == 2
    assert str(answers) in done.err
    assert "Traceback" not in done.err
    assert migbench(*command).status == 0
    assert migbench("verify", tmp_path / "run").status == 0
