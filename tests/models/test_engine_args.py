"""``--engine-args``: what it hands to an adapter, and what a resumed run may change of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.command_line import migbench

from migbench.mini import render
from migbench.models import resolving as models
from migbench.models.resolving import Overrides, Profile, resolve_model

SILENT = """
class Silent:
    SERVING = {"engine_args.threads", "batch"}
    needs_images = False
    def __init__(self, engine_args=None, batch=1): self.said = repr(engine_args)
    def answer(self, request): return self.said
"""


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=1)
    return folder


@pytest.fixture
def command(mini: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "silent.py").write_text(SILENT)
    return [
        *("run", "--model", "silent", "--adapter", f"{tmp_path / 'silent.py'}:Silent"),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", tmp_path / "run"),
        *("--tasks", "OT,diff"),  # Of ten answers without a box a run would warn, with status 1.
    ]


def said(out: Path) -> set[str]:
    lines = (out / "answers.jsonl").read_bytes().splitlines()
    return {msgspec.json.decode(line)["text"] for line in lines}


def test_they_arrive_as_one_mapping_spelt_either_way(command: list[object], tmp_path: Path) -> None:
    more = ("--engine-args", "tensor-parallel-size=2", "--engine-args", 'limits={"image": 3}')
    given = ("--model-arg", "engine_args={seed: 1, tensor_parallel_size: 8}")
    assert migbench(*command, *given, *more).status == 0
    expected = {"seed": 1, "tensor_parallel_size": 2, "limits": {"image": 3}}
    assert said(tmp_path / "run") == {repr(expected)}


def test_only_what_serves_may_change_when_a_run_goes_on(command: list[object]) -> None:
    fast = ("--engine-args", "threads=4")
    assert migbench(*command, "--engine-args", "quantisation=fp8").status == 0
    assert migbench(*command, "--engine-args", "quantisation=fp8", *fast).status == 0
    refused = migbench(*command, *fast)
    assert refused.status == 2
    assert "engine_args" in refused.err
    refused = migbench(*command, "--engine-args", "quantisation=awq", *fast)
    assert refused.status == 2
    assert "engine_args.quantisation: was 'fp8', is now 'awq'" in refused.err


def test_serving_arguments_alone_are_as_good_as_none(command: list[object]) -> None:
    assert migbench(*command).status == 0
    assert migbench(*command, "--engine-args", "threads=4", "--model-arg", "batch=2").status == 0


def test_an_adapter_without_an_engine_says_so(mini: Path, tmp_path: Path) -> None:
    refused = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", tmp_path / "run"),
        *("--engine-args", "seed=1"),
    )
    assert refused.status == 2
    assert "adapter baseline has no setting engine_args" in refused.err


def test_a_pair_is_expected(command: list[object]) -> None:
    refused = migbench(*command, "--engine-args", "seed")
    assert refused.status == 2
    assert "--engine-args seed: give it as KEY=VALUE" in refused.err


def test_they_are_added_to_those_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Profile(
        name="known",
        title="Known",
        dialect="qwen2-vl",
        source="a test",
        settings={"engine_args": {"quantization": "fp8", "seed": 1}, "max_images": 3},
    )
    monkeypatch.setattr(models, "load_profiles", lambda: {"known": profile})
    given = Overrides(settings={"engine_args": {"seed": 2}})
    assert resolve_model("known", given).settings == {
        "engine_args": {"quantization": "fp8", "seed": 2},
        "max_images": 3,
    }
