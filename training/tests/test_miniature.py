"""The miniature's training: it goes on exactly, and its frozen recipes still run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from command_line import migbench_command as migbench
from command_line import migtrain_command as migtrain
from interrupted import interrupt, losses
from safetensors.torch import load_file

from migbench.errors import UsageError
from migtrain.miniature import train as training
from migtrain.miniature.recipe import Batch, Recipe, find_recipe
from migtrain.miniature.train import MODEL, last_checkpoint, train
from migtrain.miniature.training_log import METRICS, read_metrics, rewind

TOY = str(Path(__file__).with_name("toy.yaml"))

changed = msgspec.structs.replace


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Toy tensors are not worth more, and sums keep their order whatever else is running."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    """Six steps in two stages, saved after three."""
    return changed(find_recipe(TOY), save_every=3, validation=None).with_steps(6)


@pytest.fixture(scope="module")
def uninterrupted(toy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "whole"
    assert train(toy, out).finished
    return out


def weights(folder: Path) -> bytes:
    return (folder / MODEL / "model.safetensors").read_bytes()


# The frozen recipes


def test_the_recipes_of_the_miniature_run_for_20_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, in smaller batches and 32 bits; what comes out answers questions."""
    monkeypatch.setattr("migtrain.miniature.dense_supervision.PROBED_SCENES", 4)
    monkeypatch.setattr("migtrain.miniature.objectives.WHITENING_SCENES", 16)
    monkeypatch.setattr("migtrain.miniature.objectives.INITIALISATION_SCENES", 40)
    start = None
    for name in ("mini-vision", "mini-stage1", "mini-stage2", "mini-all"):
        recipe = find_recipe(name).with_steps(20)
        recipe = changed(
            recipe,
            batch=Batch(size=2, per_device=2),
            workers=0,
            validation=None,
            trainer={**recipe.trainer, "bf16": False},
        )
        if recipe.model.checkpoint is not None:
            recipe = changed(recipe, model=changed(recipe.model, checkpoint=str(start)))
        assert train(recipe, tmp_path / name).finished
        found = losses(tmp_path / name)
        assert len(found) == 20 // recipe.log_every
        assert all(0 < loss < 100 for loss in found)
        before = load_file(start / "model.safetensors") if start else {}
        start = tmp_path / name / MODEL
        after = load_file(start / "model.safetensors")
        same = {key for key in before if torch.equal(before[key], after[key])}
        tower = {key for key in before if key.startswith("visual.") and ".merger." not in key}
        assert tower <= same, "the vision encoder is frozen"
        matrices = {key for key in before if before[key].ndim == 2} - tower
        assert not matrices & same, "all else is trained"
    mini = tmp_path / "mini"
    assert migbench("data", "mini", mini, "--per-task", 1).status == 0
    run = ("run", "--model", start, "--data", mini, "--out", tmp_path / "run")
    done = migbench(*run, "--max-new-tokens", 24)
    assert done.status == 1, done.err  # So little trained, it writes no boxes.
    assert "answers hold no box" in done.err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (manifest["status"], manifest["answered"]) == ("complete", manifest["questions"])


def test_the_command_trains_and_validates(tmp_path: Path) -> None:
    done = migtrain("miniature", "--config", TOY, "--steps", 50, "--out", tmp_path / "toy")
    assert done.status == 0, done.err
    assert "step 50: validation Acc@0.5" in done.out
    lines = read_metrics(tmp_path / "toy" / METRICS)
    found = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert found[50] < 0.7 * found[1]
    validated = [line for line in lines if "acc@0.5" in line]
    assert [line["step"] for line in validated] == [25, 50]
    assert len(validated[0]["tasks"]) == 10


def test_fewer_steps_end_as_the_recipe_does() -> None:
    """The learning rate falls over the same share of the steps."""
    for name in ("mini-stage1", "mini-stage2", "mini-all"):
        recipe = find_recipe(name)
        short = recipe.with_steps(50)
        whole, fewer = (
            each.trainer["lr_scheduler_kwargs"]["num_decay_steps"] / each.steps
            for each in (recipe, short)
        )
        assert fewer == pytest.approx(whole, abs=0.01)


def test_the_command_says_that_time_is_up(tmp_path: Path) -> None:
    done = migtrain(
        "miniature", "--config", TOY, "--steps", 3, "--out", tmp_path, "--max-minutes", 0
    )
    assert done.status == 1
    assert "stopped after step 1 of 3; the same command goes on" in done.err


# Going on


def test_killed_and_resumed_equals_uninterrupted(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    interrupt(toy, out, step=5)
    assert len(losses(out)) == 5
    resumed = train(toy, out)
    calls = read_metrics(out / training.ENVIRONMENTS)
    assert [call["from_step"] for call in calls] == [0, 3]
    assert calls[0]["packages"]["torch"] == torch.__version__
    assert (resumed.resumed_from, resumed.step, resumed.finished) == (3, 6, True)
    assert losses(out) == losses(uninterrupted)
    assert weights(out) == weights(uninterrupted)


def test_stopped_for_time_and_resumed_equals_uninterrupted(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    steps = [train(toy, tmp_path, max_minutes=0).step for _ in range(3)]
    assert steps == [1, 2, 3]
    assert train(toy, tmp_path).finished
    assert weights(tmp_path) == weights(uninterrupted)


def test_smaller_batches_at_once_train_the_same(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    """Accumulating gradients weighs every answer's token alike, however the step is dealt out."""
    train(changed(toy, batch=Batch(size=4, per_device=4)), tmp_path)
    assert losses(tmp_path) == pytest.approx(losses(uninterrupted), rel=1e-4)


def test_another_seed_trains_otherwise(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    train(changed(toy, seed=1).with_steps(2), tmp_path)
    assert losses(tmp_path)[0] != losses(uninterrupted)[0]


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step in (3, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    (tmp_path / "checkpoint-6" / "trainer_state.json").unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"


def test_a_finished_training_is_left_alone(toy: Recipe, uninterrupted: Path) -> None:
    before = weights(uninterrupted)
    again = train(toy, uninterrupted)
    assert (again.finished, again.resumed_from) == (True, 6)
    assert weights(uninterrupted) == before


def test_another_recipe_does_not_go_on(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"another recipe \(changed: max_tokens, seed\)"):
        train(changed(toy, seed=5, max_tokens=99), uninterrupted)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no training"):
        train(toy, tmp_path)
    train(changed(toy, title="other", workers=2), uninterrupted)


def test_the_finished_checkpoint_has_the_published_layout(uninterrupted: Path) -> None:
    names = {path.name for path in (uninterrupted / MODEL).iterdir()}
    assert names == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((uninterrupted / MODEL / "config.json").read_bytes())
    assert (config["model_type"], config["dtype"]) == ("qwen2_vl", "bfloat16")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no such folder"), ({"model_type": "llama"}, "is a llama; this recipe")],
)
def test_a_start_that_cannot_be_trained(
    toy: Recipe, tmp_path: Path, content: Any, message: str
) -> None:
    start = tmp_path / "start"
    if content is not None:
        start.mkdir()
        (start / "config.json").write_text(json.dumps(content))
    model = changed(toy.model, sizes=None, checkpoint=str(start))
    with pytest.raises(UsageError, match=message):
        train(changed(toy, model=model), tmp_path / "out")


def test_trainer_settings_that_do_not_exist_are_named(toy: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'trainer' does not fit .*sparkle"):
        train(changed(toy, trainer={"sparkle": True}), tmp_path / "out")


def test_rewinding_removes_later_lines_and_a_cut_one(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    rewind(path, 1)
    assert read_metrics(path) == [{"step": 1, "loss": 3}]
