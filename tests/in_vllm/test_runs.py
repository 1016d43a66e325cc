"""`migbench run --adapter vllm`: killed, stopped and resumed, it loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from conftest import CONTEXT, ENGINE

TOKENS = 60


def command(checkpoint: Path, data: Path, out: Path, *, at_once: int) -> list[str]:
    engine = {**ENGINE, "max_num_seqs": at_once}
    return [
        *(sys.executable, "-m", "migbench", "run", "--model", str(checkpoint)),
        *("--adapter", "vllm", "--data", str(data), "--out", str(out)),
        *("--model-arg", "dtype=float32", "--model-arg", f"max_model_len={CONTEXT}"),
        *(word for name in engine for word in ("--engine-args", f"{name}={engine[name]}")),
        *("--max-new-tokens", str(TOKENS)),
    ]


def lines(out: Path) -> list[dict[str, object]]:
    path = out / "answers.jsonl"
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def answers(out: Path) -> dict[object, object]:
    return {line["question"]: line["text"] for line in lines(out) if line.get("text") is not None}


@contextmanager
def under_way(arguments: list[str], out: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """A run of its own process group, with ``count`` answers in store more than there were."""
    wanted = len(answers(out)) + count
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while len(answers(out)) < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)
    yield process


def processes_of(group: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if p.pid != group and group_of(p.pid) == group]


def group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def all_end(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_killed_stopped_and_resumed(checkpoint: Path, mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # One after another, so that there is a middle of the run to be killed in.
    slowly = command(checkpoint, mini, out, at_once=1)

    with under_way(slowly, out, 3) as process:
        engine = [p for p in processes_of(process.pid) if "EngineCore" in p.name()]
        assert len(engine) == 1
        engine[0].kill()
        shown, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "vLLM's engine has ended" in told
    assert "Traceback" not in shown + told
    assert all_end(processes_of(process.pid))
    kept = answers(out)
    failed = [line for line in lines(out) if line.get("error")]
    assert 3 <= len(kept) < 40
    assert len(kept) + len(failed) == 40
    assert all("vLLM's engine has ended" in str(line["error"]) for line in failed)

    with under_way(slowly, out, 3) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        shown, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.strip() == "migbench: stopped; the same command goes on from here"
    assert all_end(processes_of(process.pid))
    more = answers(out)
    assert kept.items() < more.items()

    quickly = command(checkpoint, mini, out, at_once=64)
    done = subprocess.run(quickly, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1, done.stderr  # An untrained model writes no boxes.
    assert "answers hold no box" in done.stderr
    assert "Traceback" not in done.stderr
    complete = answers(out)
    assert more.items() <= complete.items()
    assert len(complete) == 40
