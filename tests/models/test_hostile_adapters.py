"""Runs with adapters that raise and return what no adapter should, through the command line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.data_files import record, write_annotations
from support.hostile_adapters import BOX, EXCEPTIONS, VALUES

HOSTILE = Path(__file__).parents[1] / "support" / "hostile_adapters.py"
COUNT = 2 * (len(EXCEPTIONS) + len(VALUES))


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    records = [
        record(images=[f"{number}/a.png", f"{number}/b.png"], answer=[0.1, 0.2, 0.5, 0.7])
        for number in range(COUNT)
    ]
    return write_annotations(tmp_path / "annotations.json", *records)


def command(adapter: str, annotations: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "migbench", "run", "--model", "hostile"),
        *("--adapter", f"{HOSTILE}:{adapter}", "--dialect", "qwen3-vl"),
        *("--data", str(annotations), "--out", str(out), "--skip-check", "images", *more),
    ]


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "answers.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("adapter", "more"),
    [("Hostile", ()), ("Hostile", ("--model-arg", "max_concurrency=3")), ("HostileCoroutine", ())],
)
def test_a_run_ends_by_itself_with_every_other_question_answered(
    adapter: str, more: tuple[str, ...], annotations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        command(adapter, annotations, out, *more), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    # Python itself turns this one into another, where a coroutine raises it.
    by_python = {"StopIteration: no more"} if adapter == "HostileCoroutine" else set()
    told = [told for _, told in EXCEPTIONS] + [told for _, told in VALUES]
    expected = sum(each is not None for each in told)
    errors = [str(line["error"]) for line in lines(out) if "error" in line]
    assert len(errors) == expected
    assert len(lines(out)) == COUNT
    assert all(BOX in str(line["text"]) for line in lines(out) if "text" in line)
    for each in told:
        assert each in by_python or not each or any(each in error for error in errors), each
    log = (out / "run.log").read_text("utf-8")
    assert all(each in log for each in told if each)
    assert log.count("Traceback (most recent call last)") >= expected
    assert "not even closing works" in log
    assert "prompt_tokens is left out of the answer: True is no measurement" in log
    manifest = json.loads((out / "run.json").read_text("utf-8"))
    assert (manifest["status"], manifest["answered"]) == ("incomplete", COUNT - expected)


def test_a_run_ends_by_itself_however_its_loop_is_disturbed(
    annotations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        command("ConfusesItsLoop", annotations, out), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    errors = [str(line["error"]) for line in lines(out) if "error" in line]
    assert (len(errors), len(lines(out))) == (COUNT // 2, COUNT)
    assert {error.split(":")[0] for error in errors} == {
        *("StopIteration", "SystemExit", "KeyboardInterrupt", "CancelledError", "RuntimeError")
    }


def test_a_run_whose_tasks_are_all_cancelled_is_not_complete(
    annotations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        command("CancelsEverything", annotations, out), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "migbench: the adapter has cancelled all tasks" in done.stderr
    manifest = json.loads((out / "run.json").read_text("utf-8"))
    assert (manifest["status"], manifest["answered"]) == ("stopped", len(lines(out)))


@pytest.mark.parametrize("adapter", ["NeverReturns", "KeepsTheLoopBusy", "HidesInAPool"])
def test_what_never_comes_back_is_named_and_can_be_stopped(
    adapter: str, annotations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(adapter, annotations, out, "--slow-after", "0.2"), stderr=subprocess.PIPE, text=True
    )
    log = out / "run.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text("utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "under way for 0." in log.read_text("utf-8")
    assert re.search(r"migbench: diff-\w+: its request is under way for [\d.]+ s", errors)
    assert [line["text"] for line in lines(out)] == [BOX]
    assert json.loads((out / "run.json").read_text("utf-8"))["status"] == "stopped"


def test_a_class_that_ends_the_program_is_one_that_did_not_start(
    annotations: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "mine.py"
    adapter.write_text("class Mine:\n    def __init__(self):\n        raise SystemExit(0)\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "migbench", "run", "--model", "m", "--dialect", "qwen3-vl"),
            *(
                "--adapter",
                f"{adapter}:Mine",
                "--data",
                str(annotations),
                "--out",
                str(tmp_path / "r"),
                *("--skip-check", "images"),
            ),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "did not start: SystemExit: 0" in done.stderr
