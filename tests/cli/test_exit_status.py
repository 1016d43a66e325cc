"""How commands end: 70 for our own faults, and SIGTERM as orderly as Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest
from support.command_line import migbench

from migbench.mini import render

SLOW = """
import time

class Model:
    def answer(self, request):
        time.sleep(0.05)
        return "(100,100),(500,500)"
"""

SLOW_ASYNC = """
import asyncio

class Model:
    max_concurrency = 2
    needs_images = False

    async def answer(self, request):
        from migbench.messages import Answer
        await asyncio.sleep(0.05)
        return Answer("(100,100),(500,500)")

    async def close(self):
        pass
"""


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=6)
    return folder


@pytest.mark.parametrize("error", [RuntimeError("odd"), EOFError(), RecursionError(), KeyError(3)])
def test_what_nobody_foresaw_is_our_own_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def raising(*arguments: object, **options: object) -> Never:
        raise error

    monkeypatch.setattr("migbench.cli.verify.verify", raising)
    done = migbench("verify", tmp_path)
    assert done.status == 70
    assert "fault of migbench's own" in done.err
    assert f"{type(error).__name__}" in done.err
    assert "stopped" not in done.err


def ignore_interrupts() -> None:
    """As a shell without job control does for what runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("model", [SLOW, SLOW_ASYNC], ids=["plain", "async"])
@pytest.mark.parametrize("prepare", [ignore_interrupts, heed_interrupts])
def test_sigterm_leaves_a_run_in_order(
    mini: Path, tmp_path: Path, model: str, prepare: Callable[[], None]
) -> None:
    (tmp_path / "model.py").write_text(model)
    out = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "migbench", "run", "--model", "mine"),
        *("--adapter", f"{tmp_path / 'model.py'}:Model", "--dialect", "qwen2-vl"),
        *("--data", str(mini), "--out", str(out)),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=prepare)
    answers = out / "answers.jsonl"
    patience = time.monotonic() + 60
    while not (answers.exists() and answers.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < patience
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "stopped; the same command goes on from here" in err
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["status"] == "stopped"
    assert manifest["answered"] == answers.read_bytes().count(b"\n") < 60
    assert migbench("verify", out).status == 1
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_shell_sees_the_same_signal_as_before(mini: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    migbench("tasks")
    assert signal.getsignal(signal.SIGTERM) is before
