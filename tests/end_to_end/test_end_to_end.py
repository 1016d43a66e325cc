"""`migbench run` as a user has it: a process of its own, against a server that may misbehave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas
import pytest
from support.local_server import Behaviour, read_log, server_process

from migbench.mini import render

PER_TASK = 12


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=PER_TASK)
    return folder


def command(url: str, data: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "migbench", "run"),
        *("--model", "served", "--adapter", "openai", "--endpoint", url),
        *("--dialect", "qwen2-vl", "--data", str(data), "--out", str(out)),
        *("--model-arg", "backoff=0.001", "--model-arg", "concurrency=4", *more),
    ]


def finished(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120)


def stored(out: Path) -> dict[tuple[str, int], str | None]:
    lines = map(json.loads, (out / "answers.jsonl").read_text().splitlines())
    return {
        (line["question"], line.get("turn", 0)): line.get("text")
        for line in lines
        if line.get("text") is not None
    }


def instance_rows(out: Path) -> pandas.DataFrame:
    return pandas.read_parquet(out / "instances.parquet")


@pytest.fixture(scope="module")
def uninterrupted(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with server_process(folder) as (url, _log):
        done = finished(command(url, mini, folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def wait_for_answers(out: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    answers = out / "answers.jsonl"
    while not answers.exists() or answers.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.01)


def test_killed_twice_and_resumed_equals_uninterrupted(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    with server_process(tmp_path, Behaviour(delay=0.05)) as (url, log):
        for count in (15, 50):
            process = subprocess.Popen(
                command(url, mini, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            wait_for_answers(out, count)
            process.kill()
            process.wait()
        done = finished(command(url, mini, out))
        asked = Counter(record["request"] for record in read_log(log))
    assert done.returncode == 0, done.stderr
    assert stored(out) == stored(uninterrupted)
    # Only what was in flight at a kill is asked again: at most four requests, twice.
    assert sum(asked.values()) - len(asked) <= 2 * 4
    scores, others = (json.loads((run / "scores.json").read_text()) for run in (out, uninterrupted))
    assert scores == others
    pandas.testing.assert_frame_equal(instance_rows(out), instance_rows(uninterrupted))


def test_a_server_that_fails_now_and_then_loses_nothing(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    with server_process(tmp_path, Behaviour(fail_rate=0.2, seed=3)) as (url, log):
        done = finished(command(url, mini, tmp_path / "run"))
        assert any(record["fate"] != "answer" for record in read_log(log))
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path / "run") == stored(uninterrupted)


def test_failures_that_last_are_counted_and_asked_again_alone(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    with server_process(tmp_path / "bad", Behaviour(fail_forever_rate=0.2)) as (url, log):
        done = finished(command(url, mini, out, "--model-arg", "retries=2"))
        failed = {record["request"] for record in read_log(log) if record["fate"] == "500"}
    assert done.returncode == 1
    total = 10 * PER_TASK
    assert f"{len(failed)} targets have no answer" in done.stderr
    scores = json.loads((out / "scores.json").read_text())
    assert scores["macro"]["outcomes"]["model_error"] == len(failed)
    assert scores["macro"]["acc@0.5"] is None
    assert len(stored(out)) == total - len(failed)
    assert json.loads((out / "run.json").read_text())["status"] == "incomplete"
    rows = instance_rows(out)
    assert rows[rows.outcome == "model_error"].error.str.contains("500").all()

    with server_process(tmp_path / "good") as (url, log):
        # The same model at another address: where it is served is no setting of the run.
        done = finished(command(url, mini, out))
        asked = {record["request"] for record in read_log(log)}
    assert done.returncode == 0, done.stderr
    assert asked == failed
    assert stored(out) == stored(uninterrupted)


def test_accepted_model_errors_count_as_misses_and_say_so(mini: Path, tmp_path: Path) -> None:
    with server_process(tmp_path, Behaviour(reject_rate=0.2)) as (url, _log):
        done = finished(command(url, mini, tmp_path / "run", "--accept-model-errors"))
    assert done.returncode == 1
    assert "model errors counted as misses" in done.stdout
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["accepted_model_errors"] is True
    assert scores["macro"]["acc@0.5"] is not None


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with server_process(tmp_path, Behaviour(delay=0.05)) as (url, _log):
        process = subprocess.Popen(
            command(url, mini, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for_answers(out, 10)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert json.loads((out / "run.json").read_text())["status"] == "stopped"


def test_a_second_process_on_the_same_run_is_refused(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # Slow enough for the first process to be at it still, however long the second takes to start.
    with server_process(tmp_path, Behaviour(delay=1.5)) as (url, _log):
        first = subprocess.Popen(
            command(url, mini, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_answers(out, 1)
        second = finished(command(url, mini, out))
        assert first.poll() is None
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert "another process is working on this run" in second.stderr


def test_changed_settings_are_refused_by_name(mini: Path, uninterrupted: Path) -> None:
    done = finished(command("http://127.0.0.1:9/v1", mini, uninterrupted, "--prompts", "paper"))
    assert done.returncode == 2
    assert "prompts: was 'released', is now 'paper'" in done.stderr


def test_a_broken_image_costs_its_own_instances_only(mini: Path, tmp_path: Path) -> None:
    render(tmp_path / "data", per_task=2)
    images = sorted((tmp_path / "data" / "images" / "reasoning").glob("*.png"))
    images[0].write_bytes(b"this is no image")
    images[-1].unlink()
    with server_process(tmp_path) as (url, _log):
        asked = command(url, tmp_path / "data", tmp_path / "run")
        refused = finished(asked)
        done = finished([*asked, "--skip-check", "images"])
    assert (refused.returncode, "1 of " in refused.stderr) == (2, True)
    assert done.returncode == 1
    rows = instance_rows(tmp_path / "run")
    assert list(rows[rows.outcome == "model_error"].task) == ["reasoning", "reasoning"]
    assert "Traceback" not in done.stderr


def test_no_key_reaches_the_disk_or_the_screen(mini: Path, tmp_path: Path) -> None:
    key = "sk-very-secret-0123456789"
    with server_process(tmp_path, Behaviour(reject_rate=0.5)) as (url, _log):
        done = subprocess.run(
            command(url, mini, tmp_path / "run", "--limit", "2"),
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OPENAI_API_KEY": key},
        )
    assert key not in done.stdout + done.stderr
    for path in (tmp_path / "run").iterdir():
        assert key.encode() not in path.read_bytes()


# --- Several servers, and images by path --------------------------------------------------------


def two_endpoints(first: str, second: str, data: Path, out: Path, *more: str) -> list[str]:
    return [*command(first, data, out), "--endpoint", second, *more]


def folders(place: Path, *names: str) -> list[Path]:
    made = [place / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def answered_lines(out: Path) -> list[str]:
    lines = map(json.loads, (out / "answers.jsonl").read_text().splitlines())
    return [line["question"] for line in lines if line.get("text") is not None]


def test_an_endpoint_killed_half_way_loses_nothing(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    dies, lives = folders(tmp_path, "dies", "lives")
    with (
        server_process(dies, Behaviour(delay=0.01, die_at=25)) as (one, one_log),
        server_process(lives, Behaviour(delay=0.01)) as (other, other_log),
    ):
        done = finished(two_endpoints(one, other, mini, out, "--model-arg", "retries=0"))
        before, after = read_log(one_log), read_log(other_log)
    assert done.returncode == 0, done.stderr
    assert stored(out) == stored(uninterrupted)
    assert len(answered_lines(out)) == len(set(answered_lines(out))) == 10 * PER_TASK
    asked = Counter(record["request"] for record in [*before, *after])
    assert len(before) == 26
    assert sum(asked.values()) - len(asked) <= 4, "what was under way there"
    assert f"{one}/chat/completions was set aside 1 times and did not come back" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_two_endpoints_a_killed_client_goes_on(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    first, second = folders(tmp_path, "first", "second")
    slow = Behaviour(delay=0.05)
    with server_process(first, slow) as (one, log), server_process(second, slow) as (other, more):
        for count in (15, 50):
            process = subprocess.Popen(
                two_endpoints(one, other, mini, out),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for_answers(out, count)
            process.kill()
            process.wait()
        # Recorded with a list of addresses, gone on with one: that is no setting of the run.
        manifest = json.loads((out / "run.json").read_text())
        assert manifest["settings"]["model"]["settings"]["base_url"] == [one, other]
        done = finished(command(other, mini, out))
        logs = [read_log(log), read_log(more)]
    assert done.returncode == 0, done.stderr
    assert stored(out) == stored(uninterrupted)
    assert all(len(log) > 10 for log in logs)
    asked = Counter(record["request"] for log in logs for record in log)
    assert sum(asked.values()) - len(asked) <= 2 * 2 * 4


def test_when_all_endpoints_are_down_the_same_command_asks_what_is_left(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "run"
    first, second, later = folders(tmp_path, "first", "second", "later")
    with (
        server_process(first, Behaviour(die_at=20)) as (one, _log),
        server_process(second, Behaviour(die_at=30)) as (other, _more),
    ):
        done = finished(two_endpoints(one, other, mini, out, "--patience", "2s"))
    assert done.returncode == 1
    assert "the server is down: " in done.stderr
    assert "the server did not come back" in done.stderr
    kept = len(stored(out))
    assert 0 < kept <= 50
    with server_process(later) as (url, log):
        done = finished(two_endpoints(url, other, mini, out))
        asked = read_log(log)
    assert done.returncode == 0, done.stderr
    assert len(asked) == 10 * PER_TASK - kept
    assert stored(out) == stored(uninterrupted)


def test_images_by_path_give_the_same_answers(
    mini: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    data = tmp_path / "a b#c%20d?é"
    shutil.copytree(mini, data)
    out = tmp_path / "run"
    with server_process(tmp_path, Behaviour(media_folder=str(tmp_path))) as (url, log):
        done = finished(command(url, data, out, "--send-images", "by-path"))
        assert {record["fate"] for record in read_log(log)} == {"answer"}
    assert done.returncode == 0, done.stderr
    assert stored(out) == stored(uninterrupted)


def test_a_server_that_forbids_local_files_says_how_to_allow_them(
    mini: Path, tmp_path: Path
) -> None:
    with server_process(tmp_path) as (url, _log):
        out = tmp_path / "run"
        arguments = command(url, mini, out, "--send-images", "by-path", "--limit", "1")
        done = finished(arguments)
    assert done.returncode == 1
    assert "--allowed-local-media-path FOLDER; --send-images bytes" in done.stderr
