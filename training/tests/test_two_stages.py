"""Both stages by LLaMA-Factory, with the authors' values but for size and device; their mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import migbench_command as migbench
from command_line import migtrain_command as migtrain
from safetensors.torch import load_file
from torch import Tensor

import model_adapters

MINIATURE = Path(model_adapters.__file__).parent / "checkpoints" / "migician-mini"
STEPS = 8
RAISED = 5e-4
"""A hundred times the authors' learning rate."""


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own for the data sets that LLaMA-Factory keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "mini"
    arguments = ("--per-task", 8, "--split", "train", "--format", "conversations")
    assert migbench("data", "mini", folder, *arguments).status == 0
    return folder


def trained(mini: Path, stage: int, model: Path, out: Path, *options: object) -> Path:
    """A stage's checkpoint, by the two commands."""
    data = out / "data"
    prepared = migtrain(
        "prepare", mini, "--stage", stage, "--mixture", f"mini-stage{stage}",
        "--model", model, "--out", data,
    )  # fmt: skip
    assert prepared.status == 0, prepared.err
    done = migtrain(
        "run", stage, "--data", data, "--model", model, "--out", out / "training", "--cpu",
        "--set", "logging_steps=1", "--set", "num_train_epochs=9", *options,
    )  # fmt: skip
    assert done.status == 0, done.err + done.out[-3000:]
    return out / "training" / "model"


@pytest.fixture(scope="module")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("test") / "mini"
    assert migbench("data", "mini", folder, "--per-task", 1).status == 0
    return folder


@pytest.fixture(scope="module")
def stage_1(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage1")
    return trained(mini, 1, MINIATURE, out, "--set", f"max_steps={STEPS}")


@pytest.fixture(scope="module")
def stage_2(
    mini: Path, test_split: Path, stage_1: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Begun at stage 1's output, scored after every fourth step and in the end."""
    out = tmp_path_factory.mktemp("stage 2")
    scored = ("--validate-every", STEPS // 2, "--validate-per-task", 1, "--evaluate", test_split)
    return trained(mini, 2, stage_1, out, "--set", f"max_steps={STEPS}", *scored)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def config_of(folder: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((folder.parent / "llamafactory.yaml").read_text())
    return found


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_bytes())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_vision_tower_and_projector_stay_and_all_of_the_language_model_is_trained(
    stage_1: Path, stage_2: Path
) -> None:
    for before, after in ((MINIATURE, stage_1), (stage_1, stage_2)):
        old, new = weights(before), weights(after)
        assert old.keys() == new.keys()
        visual = {name for name in old if name.startswith("visual.")}
        same = {name for name in old if torch.equal(old[name].to(new[name].dtype), new[name])}
        assert len(visual) == 55
        assert same == visual
        assert len(old) - len(visual) == 62


def test_the_authors_values_are_trained_with(stage_1: Path, stage_2: Path) -> None:
    first, second = config_of(stage_1), config_of(stage_2)
    assert (first["learning_rate"], second["learning_rate"]) == (5e-6, 4e-6)
    assert (first["cutoff_len"], second["cutoff_len"]) == (6000, 8192)
    for config in (first, second):
        assert config["per_device_train_batch_size"] == 2
        assert config["gradient_accumulation_steps"] == 3
        assert config["image_max_pixels"] == 262144
        assert config["bf16"] is True
    log = (stage_1.parent / "train.log").read_text("utf-8")
    examples = json.loads((stage_1.parents[1] / "data" / "prepared.json").read_bytes())
    (source,) = examples["sources"].values()
    assert f"Num examples = {source['samples']}" in log
    assert re.search(r"Total optimization steps = 8\b", log)


def test_the_model_is_scored_while_it_is_trained(stage_2: Path) -> None:
    """It begins at a model that can answer, so that a score of nothing would be a fault."""
    lines = (stage_2.parent / "validation.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["step"] for line in found] == [STEPS // 2, STEPS]
    assert all(line["eval_acc@0.5"] >= 50 for line in found)
    history = json.loads((stage_2 / "trainer_state.json").read_bytes())["log_history"]
    assert [entry for entry in history if "eval_acc@0.5" in entry] == found


def test_the_result_is_scored_in_the_end(stage_2: Path) -> None:
    run = stage_2.parent / "evaluation"
    assert len((run / "answers.jsonl").read_text().splitlines()) >= 10
    scores = json.loads((run / "scores.json").read_bytes())
    assert len(scores["tasks"]) == 10


def test_loss_falls_at_a_raised_rate(mini: Path, tmp_path: Path) -> None:
    options = ("--set", "max_steps=14", "--set", f"learning_rate={RAISED}")
    found = losses(trained(mini, 1, MINIATURE, tmp_path, *options))
    assert len(found) == 14
    assert sum(found[-4:]) < 0.6 * sum(found[:4])


def test_the_mean_of_both_is_exact_and_answered_by_migbench(
    stage_1: Path, stage_2: Path, test_split: Path, tmp_path: Path
) -> None:
    merged = tmp_path / "merged"
    assert migtrain("merge", stage_1, stage_2, "--out", merged).status == 0
    first, second, mean = (weights(each) for each in (stage_1, stage_2, merged))
    for name, tensor in mean.items():
        exact = (first[name].double() + second[name].double()) / 2
        assert torch.equal(tensor, exact.to(tensor.dtype)), name
    done = migbench("run", "--model", merged, "--data", test_split, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert len((tmp_path / "run" / "answers.jsonl").read_text().splitlines()) >= 10


def test_records_that_llamafactory_drops_stop_the_training(mini: Path, tmp_path: Path) -> None:
    """As if a record had been spoiled after it was checked."""
    data = tmp_path / "data"
    prepare = ("prepare", mini, "--stage", 1, "--mixture", "mini-stage1", "--out", data)
    assert migtrain(*prepare).status == 0
    path = data / "m-grounding-1.jsonl"
    first, *others = path.read_text().splitlines()
    spoiled = json.loads(first)
    spoiled["conversations"].pop()
    path.write_text("\n".join([json.dumps(spoiled), *others]) + "\n")
    out = tmp_path / "out"
    done = migtrain("run", 1, "--data", data, "--model", MINIATURE, "--out", out, "--cpu")
    assert done.status == 2
    assert re.search(r"trains on (\d+) examples of (\d+): it has dropped", done.err)
    assert not (out / "model" / "model.safetensors").exists()


def test_a_training_that_fails_says_why(mini: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare = ("prepare", mini, "--stage", 1, "--mixture", "mini-stage1", "--out", data)
    assert migtrain(*prepare).status == 0
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    done = migtrain("run", 1, "--data", data, "--model", tmp_path / "empty", "--out", out, "--cpu")
    assert done.status == 2
    assert "LLaMA-Factory failed with status 1: " in done.err
    assert "Traceback" not in done.err
