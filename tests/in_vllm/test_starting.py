"""An engine that does not start says why, and what to do; without a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ENGINE

from migbench.messages import AdapterError
from model_adapters import tiny_qwen2_vl
from model_adapters.vllm.adapter import VllmAdapter


def reason(checkpoint: Path, capfd: pytest.CaptureFixture[str], **settings: Any) -> str:
    """Why it does not start; nothing is shown, and no process is left."""
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(AdapterError) as error:
        VllmAdapter(str(checkpoint), dtype="float32", **settings)
    left = set(psutil.Process().children(recursive=True)) - before
    assert [process for process in left if "VLLM" in process.name()] == []
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    assert str(checkpoint) in str(error.value) or "--engine-args" in str(error.value)
    return str(error.value)


def test_too_little_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # The environment sets a gigabyte aside, which holds a million tokens of this model.
    sizes = tiny_qwen2_vl.Sizes(max_positions=1_100_000)
    folder = tiny_qwen2_vl.build(tmp_path / "long", sizes=sizes)
    capfd.readouterr()
    told = reason(folder, capfd, engine_args=ENGINE)
    assert "no memory is left for answering: lower --engine-args max_model_len" in told
    assert "1100000" in told


def name_no_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    changes = {"architectures": ["NoSuchModel"], "model_type": "none_such"}
    (folder / "config.json").write_text(json.dumps(config | changes))


def name_an_unknown_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["NoSuchModel"]}))


@pytest.mark.parametrize("damage", [name_no_architecture, name_an_unknown_class])
def test_an_unknown_architecture(
    checkpoint: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copied"))
    damage(folder)
    told = reason(folder, capfd, engine_args=ENGINE)
    assert "vLLM does not know the model's architecture" in told
    assert "--adapter transformers" in told


def test_an_unknown_argument_of_the_engine(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = reason(checkpoint, capfd, engine_args={"tensor_paralel_size": 2})
    assert "no engine argument tensor_paralel_size; did you mean tensor_parallel_size?" in told


def test_a_value_that_an_argument_does_not_take(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = reason(checkpoint, capfd, engine_args={"quantization": "none-such"})
    assert "none-such" in told
