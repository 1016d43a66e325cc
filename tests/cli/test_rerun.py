"""``migbench rerun``: the same run again, from its manifest alone, unless the world has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from support.command_line import migbench
from support.local_server import server_process

from migbench import tasks
from migbench.mini import render
from migbench.models.resolving import Model, resolve_model
from migbench.runs.fingerprints import fingerprint_of_checkpoint
from migbench.runs.manifest import read_manifest
from migbench.runs.settings import differences

COUNTING = """
class Model:
    def __init__(self, start=0):
        self.asked = start

    def answer(self, request):
        self.asked += 1
        return f"(0,0),({self.asked},999)"
"""


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


@pytest.fixture
def guess(mini: Path, tmp_path: Path) -> Path:
    """A run of the baseline under options of every kind."""
    out = tmp_path / "guess"
    done = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", out),
        *("--tasks", "OT,region,GG", "--limit", "1", "--evaluator", "all-at-once"),
        *("--strategy", "mcot", "--prompts", "released", "--seed", "3", "--max-new-tokens", "9"),
        *("--protocol", "released", "--corrections", "none"),
    )
    assert done.status == 0, done.err
    return out


def answers_of(run: Path) -> dict[tuple[str, int], str]:
    lines = map(json.loads, (run / "answers.jsonl").read_text().splitlines())
    return {(line["question"], line.get("turn", 0)): line["text"] for line in lines}


def hash_of(run: Path) -> str:
    stored: str = json.loads((run / "scores.json").read_text())["run"]
    return stored


# --- The same again ------------------------------------------------------------------------------


def test_a_baselines_run_is_repeated_with_all_its_options(guess: Path) -> None:
    done = migbench("rerun", guess)
    again = guess.with_name("guess-rerun")
    assert done.status == 0, done.err
    assert f"All {len(answers_of(guess))} answers are the same as before." in done.out
    assert f"Run {hash_of(guess)[:12]}, as before." in done.out
    assert answers_of(again) == answers_of(guess)
    assert (again / "scores.json").read_bytes() == (guess / "scores.json").read_bytes()
    assert read_manifest(again).settings == read_manifest(guess).settings
    assert migbench("verify", again).status == 0


def test_a_tiny_checkpoints_run_is_repeated(mini: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Greedy float32 on a CPU: the same batches give the same answers."""
    run = tmp_path / "run"
    done = migbench(
        *("run", "--model", checkpoint, "--data", mini, "--out", run, "--tasks", "OT,region"),
        *("--max-new-tokens", "12", "--batch-size", "2", "--model-arg", "dtype=float32"),
    )
    assert done.status == 0, done.err
    made = read_manifest(run).environment
    assert made.checkpoint == fingerprint_of_checkpoint(read_manifest(run).settings.model)
    done = migbench("rerun", run, "--batch-size", "1", "--out", tmp_path / "again")
    assert done.status == 0, done.err
    assert answers_of(tmp_path / "again") == answers_of(run)
    assert hash_of(tmp_path / "again") == hash_of(run)
    assert f"Run {hash_of(run)[:12]}, as before." in done.out


def test_answers_that_are_others_are_counted_and_named(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(COUNTING)
    run = tmp_path / "run"
    done = migbench(
        *("run", "--model", "mine", "--adapter", f"{tmp_path / 'model.py'}:Model"),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", run, "--tasks", "OT"),
    )
    assert done.status == 0, done.err
    again = ("rerun", run, "--model-arg", "start=1", "--json", tmp_path / "r.json")
    refused = migbench(*again)
    assert refused.status == 2
    assert "model.settings.start: was None, is now 1" in refused.err
    assert not run.with_name("run-rerun").exists()
    done = migbench(*again, "--accept-changes")
    assert done.status == 0, done.err
    assert "accepted: model.settings.start" in done.err
    assert "2 of 2 answers are others than before" in done.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["was"] == hash_of(run) != report["run"]
    assert set(report["answers"]["examples"]) == {question for question, _ in answers_of(run)}


def test_a_relative_adapter_file_is_found_from_anywhere(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "model.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path / "here")
    run = tmp_path / "run"
    done = migbench(
        *("run", "--model", "mine", "--adapter", "model.py:Model", "--dialect", "qwen2-vl"),
        *("--data", mini, "--out", run, "--tasks", "OT"),
    )
    assert done.status == 0, done.err
    monkeypatch.chdir(tmp_path / "there")
    done = migbench("rerun", run)
    assert done.status == 0, done.err
    assert f"Run {hash_of(run)[:12]}, as before." in done.out


def test_a_key_is_read_from_the_environment_again_and_a_server_may_have_moved(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    run, again = tmp_path / "run", tmp_path / "again"
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    with server_process(tmp_path / "one") as (url, _log):
        done = migbench(
            *("run", "--model", "served", "--adapter", "openai", "--endpoint", url),
            *("--dialect", "qwen2-vl", "--data", mini, "--out", run, "--tasks", "OT,diff"),
        )
    assert done.status == 0, done.err
    with server_process(tmp_path / "other") as (url, _log):
        done = migbench("rerun", run, "--out", again, "--endpoint", url)
    assert done.status == 0, done.err
    assert hash_of(again) == hash_of(run)
    for path in (*run.iterdir(), *again.iterdir()):
        assert key.encode() not in path.read_bytes()


@pytest.mark.parametrize("setting", ["api_key=sk-123", "base_url=http://me:sk-123@127.0.0.1:9/v1"])
def test_a_secret_among_the_settings_is_refused_before_it_is_on_disk(
    mini: Path, tmp_path: Path, setting: str
) -> None:
    done = migbench(
        *("run", "--model", "served", "--adapter", "openai", "--model-arg", setting),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", tmp_path / "run"),
    )
    assert done.status == 2
    assert setting.partition("=")[0] in done.err
    assert "sk-123" not in done.err
    assert not (tmp_path / "run").exists()


# --- What is refused -----------------------------------------------------------------------------


def test_moved_data_are_asked_for_and_others_refused(mini: Path, tmp_path: Path) -> None:
    data = shutil.copytree(mini, tmp_path / "data")
    run = tmp_path / "run"
    assert migbench("run", "--model", "whole-image", "--data", data, "--out", run).status == 0
    data.rename(tmp_path / "moved")
    done = migbench("rerun", run)
    assert done.status == 2
    assert "annotation file is gone; pass --data" in done.err
    done = migbench("rerun", run, "--data", tmp_path / "moved")
    assert done.status == 0, done.err
    assert "as before" in done.out

    render(tmp_path / "other", per_task=2, seed=5)
    command = ("rerun", run, "--data", tmp_path / "other", "--out", tmp_path / "again")
    done = migbench(*command)
    assert done.status == 2
    assert "annotations: was 'MIG_mini.json (" in done.err
    assert "--accept-changes repeats it all the same" in done.err
    assert migbench(*command, "--accept-changes").status == 0


def test_an_edited_task_is_refused(guess: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.task_hashes()
    monkeypatch.setattr("migbench.runs.plan.task_hashes", lambda: real | {"region": "0" * 64})
    done = migbench("rerun", guess)
    assert done.status == 2
    assert "tasks.region: was" in done.err


def test_a_damaged_run_is_refused(guess: Path) -> None:
    answers = guess / "answers.jsonl"
    answers.write_bytes(answers.read_bytes().replace(b"999", b"998", 1))
    done = migbench("rerun", guess)
    assert done.status == 2
    assert f"{answers}:1 (" in done.err


def test_a_retrained_checkpoint_is_refused(mini: Path, checkpoint: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(checkpoint, tmp_path / "mine")
    run = tmp_path / "run"
    done = migbench(
        *("run", "--model", mine, "--data", mini, "--out", run, "--tasks", "OT"),
        *("--limit", "1", "--max-new-tokens", "4"),
    )
    assert done.status == 0, done.err
    weights = mine / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2 :: 1000] = bytes(len(content[len(content) // 2 :: 1000]))
    weights.write_bytes(content)
    for command in ("rerun", "verify"):
        done = migbench(command, run)
        assert done.status == 2
        assert f"checkpoint {mine}: is another than answered" in done.out + done.err
    done = migbench(
        *("run", "--model", mine, "--data", mini, "--out", run, "--tasks", "OT"),
        *("--limit", "1", "--max-new-tokens", "4"),
    )
    assert done.status == 2
    assert "the checkpoint's files: were 'files " in done.err


def test_imported_answers_have_no_model_to_ask(mini: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"index": 0, "response": "(1,2),(3,4)"}\n')
    done = migbench(
        *("import", "jsonl", tmp_path / "a.jsonl", "--annotations", mini / "MIG_mini.json"),
        *("--profile", "migician", "--out", tmp_path / "run"),
    )
    assert done.status == 0, done.err
    done = migbench("rerun", tmp_path / "run")
    assert done.status == 2
    assert "there is no model to ask again" in done.err


def test_code_of_a_checkpoint_is_trusted_by_the_user_alone(guess: Path) -> None:
    manifest = json.loads((guess / "run.json").read_text())
    manifest["settings"]["model"]["settings"]["engine"] = {"trust_remote_code": True}
    (guess / "run.json").write_text(json.dumps(manifest | {"seal": None}))
    done = migbench("rerun", guess)
    assert done.status == 2
    assert "say that this is to be trusted: --model-arg trust_remote_code=true" in done.err


def test_a_run_is_not_repeated_onto_itself(guess: Path) -> None:
    done = migbench("rerun", guess, "--out", guess)
    assert done.status == 2
    assert "is the run itself" in done.err


# --- Fingerprints --------------------------------------------------------------------------------


def of_checkpoint(folder: Path) -> Model:
    model = resolve_model("whole-image")
    return msgspec.structs.replace(model, checkpoint=str(folder))


def test_a_checkpoints_fingerprint_is_its_files_wherever_they_lie(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "runs").mkdir(parents=True)
    (here / "config.json").write_text("{}")
    large = bytes(range(256)) * 20_000
    (here / "weights").write_bytes(large)
    plain = fingerprint_of_checkpoint(of_checkpoint(here))
    there = shutil.copytree(here, tmp_path / "there")
    (there / ".cache").write_text("")
    (there / "runs" / "log").write_text("")
    assert fingerprint_of_checkpoint(of_checkpoint(there)) == plain
    for place in (0, 1000, len(large) - 1):
        changed = bytearray(large)
        changed[place] ^= 1
        (there / "weights").write_bytes(changed)
        assert fingerprint_of_checkpoint(of_checkpoint(there)) != plain
    (there / "weights").write_bytes(large + b"\0")
    assert fingerprint_of_checkpoint(of_checkpoint(there)) != plain


def test_a_hub_checkpoint_is_known_by_the_commit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = msgspec.structs.replace(resolve_model("migician"), checkpoint="owner/name")
    assert fingerprint_of_checkpoint(model) is None
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    assert fingerprint_of_checkpoint(model) == f"commit {commit}"
    assert fingerprint_of_checkpoint(msgspec.structs.replace(model, revision="v2")) is None


def test_the_name_of_a_served_model_is_no_hub_id() -> None:
    model = msgspec.structs.replace(resolve_model("migician"), checkpoint="a served name!")
    assert fingerprint_of_checkpoint(model) is None


def test_a_repetition_differs_in_what_serves_alone(guess: Path) -> None:
    old = read_manifest(guess)
    assert migbench("rerun", guess).status == 0
    new = read_manifest(guess.with_name("guess-rerun"))
    assert differences(old.settings, new.settings, old.serving) == []
    assert new.environment.command[:2] == ["migbench", "rerun"]
