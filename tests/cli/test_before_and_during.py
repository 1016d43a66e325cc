"""Before a run: what stands in the way is told at once. During: where it is, and what is amiss."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from support.command_line import Done, migbench
from support.local_server import Behaviour, LocalServer, Scripted

from migbench.cli import progress
from migbench.cli.tally import Tally
from migbench.mini import render
from migbench.runs import patience
from migbench.runs.store import Run


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=6)
    return folder


def served(mini: Path, url: str, out: Path, *options: object, model: str = "m") -> Done:
    return migbench(
        *("run", "--model", model, "--adapter", "openai", "--endpoint", url),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", out, *options),
    )


def gone() -> str:
    with LocalServer() as server:
        return server.base_url


# --- Before --------------------------------------------------------------------------------------


def refused(done: Done, out: Path, *told: str) -> None:
    """Status 2, in one line each, with nothing left behind."""
    assert done.status == 2
    assert all(text in done.err for text in told), done.err
    assert "Traceback" not in done.err
    assert not out.parent.exists()


def test_a_wrong_port_is_told_with_the_question_that_helps(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "run"
    started = time.monotonic()
    done = served(mini, gone(), out)
    refused(done, out, "is the server started, and are host and port right?", "--skip-check server")
    assert time.monotonic() - started < 5
    assert len(done.err.splitlines()) == 1


def test_a_wrong_key_is_told_with_its_variable(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    out = tmp_path / "results" / "run"
    with LocalServer(Behaviour(model="m", key="sk-right-0123456789")) as server:
        done = served(mini, server.base_url, out)
    refused(done, out, "401", "OPENAI_API_KEY, which is set; is it the key of this server?")
    assert "sk-wrong" not in done.err


def test_a_key_that_is_asked_for_and_not_there_is_told(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "run"
    with LocalServer() as server:
        done = served(mini, server.base_url, out, "--model-arg", "api_key_env=NO_SUCH_KEY")
    refused(done, out, "NO_SUCH_KEY, which is to hold the key, is not set: export NO_SUCH_KEY=")


def test_a_model_that_is_not_served_is_told_with_those_that_are(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "run"
    with LocalServer(Behaviour(model="org/mine")) as server:
        refused(
            served(mini, server.base_url, out, model="yours"),
            *(out, "does not serve yours, but org/mine", "--model NAME"),
        )
        assert served(mini, server.base_url, out, "--limit", "1", model="org/mine").status == 0


def test_an_address_without_its_version_is_told(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "run"
    with LocalServer() as server:
        root = server.base_url.removesuffix("/v1")
        refused(served(mini, root, out), out, f"the API is at {root}/v1: --endpoint {root}/v1")


def test_all_missing_images_are_counted_and_the_first_named(mini: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(mini, tmp_path / "mine")
    shutil.rmtree(mine / "images" / "diff")
    out = tmp_path / "results" / "run"
    with LocalServer() as server:
        done = served(mine, server.base_url, out)
        refused(done, out, "12 of", "images are not below", "images/diff/", "and 9 more")
        skipping = served(mine, server.base_url, out, "--skip-check", "images")
        assert skipping.status == 1


def test_the_checkpoints_own_dialect_is_named(mini: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "results" / "run", tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    run = ("run", "--model", checkpoint, "--data", mini, "--out", out)
    refused(
        migbench(*run, "--dialect", "internvl"),
        *(out, "--dialect internvl", "writes boxes as --dialect qwen2-vl (its model_type is"),
    )
    # A dialect that claims no family's checkpoints is for models that were trained further.
    told = migbench(*run, "--dialect", "univg-r1", "--dry-run")
    assert (told.status, "writes boxes as" in told.err) == (0, False)


def test_what_a_server_says_of_its_checkpoint_counts(mini: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "results" / "run", tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "internvl_chat"}))
    with LocalServer(Behaviour(model="m", root=str(checkpoint))) as server:
        refused(served(mini, server.base_url, out), out, "writes boxes as --dialect internvl")


def test_several_things_are_told_together_also_by_a_dry_run(mini: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(mini, tmp_path / "mine")
    shutil.rmtree(mine / "images")
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    for option in ((), ("--dry-run",)):
        done = served(mine, gone(), out, *option)
        assert done.status == 2
        assert "nothing was asked: 3 things stand in the way" in done.err
        for told in ("is the server started", "images are not below", "is a file; choose another"):
            assert told in done.err


def test_a_model_that_needs_no_images_is_asked_without_them(mini: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(mini, tmp_path / "mine")
    shutil.rmtree(mine / "images")
    done = migbench("run", "--model", "centre", "--data", mine, "--out", tmp_path / "run")
    assert done.status == 0, done.err


def test_the_first_answer_is_shown_as_it_was_parsed(mini: Path, tmp_path: Path) -> None:
    with LocalServer() as server:
        done = served(mini, server.base_url, tmp_path / "run", "--limit", "2")
        assert len(server.received) == 20
    first, answer, parsed = done.err.splitlines()[:3]
    assert first.startswith("migbench: first question diff-")
    assert answer.startswith("  answer: '(")
    assert "parsed by dialect qwen2-vl: a box in image 2: x " in parsed


# --- During --------------------------------------------------------------------------------------


def test_a_wrong_dialect_is_warned_of_after_fifty_answers_with_the_right_one(
    mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with LocalServer() as server:
        done = migbench(
            *("run", "--model", "m", "--adapter", "openai", "--endpoint", server.base_url),
            *("--dialect", "gemini", "--data", mini, "--out", out),
        )
    assert done.status == 1
    first, last = [line for line in done.err.splitlines() if "hold no box" in line]
    assert "50 of the first 50 answers hold no box: dialect gemini is declared" in first
    assert "they can be read with --dialect qwen2-vl" in first
    assert f"migbench doctor --run {out}" in first
    assert "60 of 60 answers hold no box" in last
    again = migbench(
        *("run", "--model", "m", "--adapter", "openai", "--endpoint", server.base_url),
        *("--dialect", "gemini", "--data", mini, "--out", out),
    )
    assert again.status == 1  # A finished run says the same, and asks no server.


def test_a_right_dialect_is_not_warned_of(mini: Path, tmp_path: Path) -> None:
    with LocalServer() as server:
        done = served(mini, server.base_url, tmp_path / "run")
    assert (done.status, "hold no box" in done.err) == (0, False)


def test_a_server_that_goes_is_waited_for_and_a_run_that_stops_goes_on(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.05)
    out = tmp_path / "run"
    with LocalServer(Behaviour(stop_after=20)) as server:
        done = served(
            mini, server.base_url, out, "--patience", "1s", "--model-arg", "concurrency=2"
        )
        port = server.port
    assert done.status == 1
    assert "the server is down: http://127.0.0.1" in done.err
    assert "more (--patience)" in done.err
    assert "the server did not come back" in done.err
    lines = Run(out).lines.values()
    assert 10 < len(lines) < 60
    assert {line.error for line in lines} == {None}
    with LocalServer(port=port) as server:
        assert served(mini, server.base_url, out).status == 0


def test_a_server_that_never_was_there_leaves_nothing(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "run"
    done = served(mini, gone(), out, "--skip-check", "server", "--patience", "0.2s")
    assert (done.status, "the server did not come back" in done.err) == (1, True)
    assert not out.parent.exists()
    doctor = migbench(
        *("doctor", "--model", "m", "--adapter", "openai", "--endpoint", gone()),
        *("--dialect", "qwen2-vl", "--scenes", "2", "--skip-check", "server", "--patience", "0.2s"),
    )
    assert (doctor.status, "the server did not come back" in doctor.err) == (1, True)


def test_where_there_is_no_terminal_a_line_is_told_every_minute(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.1)
    with LocalServer(Behaviour(delay=0.02)) as server:
        done = served(mini, server.base_url, tmp_path / "run", "--model-arg", "concurrency=2")
    lines = [line for line in done.err.splitlines() if " of 60 questions, " in line]
    assert lines
    assert "left; Acc@0.5 " in lines[-1]


def test_a_line_has_rate_time_left_errors_apart_and_the_last_reason() -> None:
    tally = Tally(total=4295, stored=100, began=1000.0, done=400, targets=400, hits=150, errors=100)
    tally.last_error = "500: out of memory\nat step 3"
    assert tally.line(now=1060.0) == (
        "400 of 4,295 questions, 5.0 a second, 12 min 59 s left; Acc@0.5 50.0, errors 100 "
        "(last: 500: out of memory at step 3)"
    )


def test_debug_shows_what_an_adapter_raised(mini: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "failing.py"
    adapter.write_text("class Failing:\n    def answer(self, request):\n        return {}['box']\n")
    run = ("run", "--model", "mine", "--adapter", f"{adapter}:Failing", "--dialect", "qwen2-vl")
    run = (*run, "--data", mini, "--limit", "1")
    assert "Traceback" not in migbench(*run, "--out", tmp_path / "quiet").err
    told = migbench(*run, "--out", tmp_path / "loud", "--debug").err
    assert "return {}['box']" in told


def test_a_proxy_without_its_server_is_a_server_that_is_down(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.05)
    script = [Scripted(b"no upstream", status=503)] * 40
    with LocalServer(script=script) as server:
        done = served(
            mini, server.base_url, tmp_path / "run", "--limit", "1", "--model-arg", "backoff=0.001"
        )
    assert done.status == 0
    assert "the server is down: " in done.err
    assert "the server is back" in done.err
