"""Training end to end, at toy size: it learns, goes on exactly, and its checkpoint is evaluated."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import migbench_command as migbench
from command_line import migtrain_command as migtrain
from interrupted import interrupt
from PIL import Image

from migbench.errors import AdapterError, UsageError
from migtrain.miniature import train as training
from migtrain.miniature.data import TrainingExamples, open_data
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.lessons import SKIPPED
from migtrain.miniature.metrics import METRICS, read_metrics, rewind
from migtrain.miniature.recipe import Batch, Machine, Recipe, Records, Stretch, find_recipe
from migtrain.miniature.train import MODEL, last_checkpoint, train

torch = pytest.importorskip("torch")

changed = msgspec.structs.replace

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """Toy tensors are not worth more, and sums keep their order whatever else is running."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    """Six steps in two phases, saved after three."""
    recipe = changed(find_recipe("mini-smoke"), save_every=3, watch=None)
    return recipe.with_steps(6)


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(folder / METRICS)]


@pytest.fixture(scope="module")
def uninterrupted(toy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "whole"
    assert train(toy, out).finished
    return out


def weights(folder: Path) -> bytes:
    return (folder / MODEL / "model.safetensors").read_bytes()


def test_killed_and_resumed_equals_uninterrupted(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"

    interrupt(toy, out, step=5)
    assert [step for step, _ in losses(out)] == [1, 2, 3, 4, 5]
    resumed = train(toy, out)
    calls = read_metrics_like(out / training.ENVIRONMENTS)
    assert [call["from_step"] for call in calls] == [0, 3]
    assert calls[0]["packages"]["torch"] == torch.__version__
    assert (resumed.resumed_from, resumed.step, resumed.finished) == (3, 6, True)
    assert losses(out) == losses(uninterrupted)
    assert weights(out) == weights(uninterrupted)


def test_stopped_for_time_and_resumed_equals_uninterrupted(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "paused"
    steps = []
    for _ in range(3):
        paused = train(toy, out, max_minutes=0)
        assert not paused.finished
        steps.append(paused.step)
    assert steps == [1, 2, 3]
    assert train(toy, out).finished
    assert losses(out) == losses(uninterrupted)
    assert weights(out) == weights(uninterrupted)


def test_worker_processes_change_nothing(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    train(changed(toy, workers=2), tmp_path / "workers")
    assert losses(tmp_path / "workers") == losses(uninterrupted)


def test_smaller_batches_at_once_learn_the_same(
    toy: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    """Accumulating gradients weighs every answer's token alike, however the step is dealt out."""
    train(changed(toy, batch=Batch(size=4, per_device=4)), tmp_path / "at-once")
    for (_, ours), (_, theirs) in zip(
        losses(tmp_path / "at-once"), losses(uninterrupted), strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_another_seed_trains_otherwise(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    train(changed(toy, seed=1).with_steps(2), tmp_path / "seed")
    assert losses(tmp_path / "seed")[0] != losses(uninterrupted)[0]


def test_a_finished_training_is_left_alone(toy: Recipe, uninterrupted: Path) -> None:
    before = weights(uninterrupted)
    again = train(toy, uninterrupted)
    assert (again.finished, again.resumed_from) == (True, 6)
    assert weights(uninterrupted) == before


def test_a_checkpoint_that_was_cut_off_is_passed_over(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    shutil.copytree(uninterrupted, out)
    assert last_checkpoint(out) == out / "checkpoint-6"
    (out / "checkpoint-6" / "trainer_state.json").unlink()
    assert last_checkpoint(out) == out / "checkpoint-3"
    shutil.rmtree(out / MODEL)
    assert train(find(out), out).resumed_from == 3
    assert losses(out) == losses(uninterrupted)


def test_killed_after_the_last_step_only_the_checkpoint_is_made(
    uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "late"
    shutil.copytree(uninterrupted, out)
    shutil.rmtree(out / MODEL)
    done = train(find(out), out)
    assert (done.resumed_from, done.finished) == (6, True)
    assert weights(out) == weights(uninterrupted)
    assert losses(out) == losses(uninterrupted)


def find(folder: Path) -> Recipe:
    return msgspec.json.decode((folder / "recipe.json").read_bytes(), type=Recipe)


def test_another_recipe_does_not_go_on(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"another recipe \(changed: max_tokens, seed\)"):
        train(changed(toy, seed=5, max_tokens=99), uninterrupted)
    with pytest.raises(UsageError, match="choose an empty folder"):
        train(toy, uninterrupted, resume=False)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no training"):
        train(toy, tmp_path)
    # The machine and its processes may be others.
    train(changed(toy, machine=Machine(gpus=3), keep=5), uninterrupted)


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
    settings = json.loads((uninterrupted / MODEL / "preprocessor_config.json").read_bytes())
    assert settings["processor_class"] == "Qwen2VLProcessor"


def test_the_command_trains_and_its_checkpoint_answers(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    done = migtrain("miniature", "--config", "mini-smoke", "--steps", 50, "--out", out)
    assert done.status == 0, done.err
    assert "step 50: held-out Acc@0.5" in done.out
    found = dict(losses_and_accuracy(out)[0])
    assert min(found) == 1
    assert max(found) == 50
    assert found[50] < 0.7 * found[1]
    watched = losses_and_accuracy(out)[1]
    assert [line["step"] for line in watched] == [25, 50]
    assert len(watched[0]["tasks"]) == 10
    data = tmp_path / "mini"
    assert migbench("data", "mini", data, "--per-task", 1).status == 0
    run = migbench(
        "run", "--model", out / MODEL, "--data", data, "--out", tmp_path / "run",
        "--max-new-tokens", 24,
    )  # fmt: skip
    assert run.status == 0, run.err
    assert "qwen2-vl" in (tmp_path / "run" / "run.json").read_text()


def losses_and_accuracy(out: Path) -> tuple[list[tuple[int, float]], list[dict[str, Any]]]:
    lines = read_metrics(out / METRICS)
    return (
        [(line["step"], line["loss"]) for line in lines if "loss" in line],
        [line for line in lines if "acc@0.5" in line],
    )


def test_stopping_for_time_is_said(tmp_path: Path) -> None:
    command = (
        "miniature", "--config", "mini-smoke", "--steps", 3, "--out", tmp_path, "--max-minutes", 0,
    )  # fmt: skip
    done = migtrain(*command)
    assert done.status == 1
    assert "stopped after step 1 of 3; the same command goes on" in done.err


# On records


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MIG-Mini's training split as conversation records, and an image that does not decode."""
    folder = tmp_path_factory.mktemp("written") / "mini"
    done = migbench(
        "data", "mini", folder, "--per-task", 4, "--split", "train", "--format", "conversations"
    )
    assert done.status == 0, done.err
    return folder


@pytest.fixture(scope="module")
def on_records(toy: Recipe) -> Recipe:
    sources = {
        "two": Records(files=("*conversations.json",), kinds=("diff", "refer_grounding")),
        "more": Records(files=("conversations.json",), kinds=("region", "group_grounding")),
    }
    phases = (Stretch(steps=3, shares={"two": 1, "more": 1}),)
    return changed(toy, sources=sources, phases=phases)


def test_written_scenes_are_mgroundings_records(written: Path) -> None:
    content = json.loads((written / "conversations.json").read_bytes())
    tasks = {record["type"] for record in content}
    assert len(tasks) == 10
    first = content[0]
    assert set(first) == {"id", "images", "conversations", "type"}
    assert all((written / image).is_file() for image in first["images"])
    assert first["conversations"][0]["value"].startswith("<image>" * len(first["images"]))
    turns = [len(record["conversations"]) for record in content if record["type"] == "region"]
    assert sum(turns) == 8
    assert max(turns) > 2


def test_training_on_records_resumes_too(on_records: Recipe, written: Path, tmp_path: Path) -> None:
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    assert train(on_records, whole, written).finished
    train(on_records, paused, written, max_minutes=0)
    assert train(on_records, paused, written).resumed_from == 1
    assert losses(paused) == losses(whole)
    assert not (whole / SKIPPED).exists()


def test_examples_that_cannot_be_made_are_replaced_and_named(
    on_records: Recipe, written: Path, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(written, folder)
    for broken in sorted((folder / "images" / "diff").iterdir())[:2]:
        broken.write_bytes(b"no picture")
    Image.new("RGB", (3000, 3)).save(sorted((folder / "images" / "refer_grounding").iterdir())[0])
    encoder = Encoder(checkpoint, max_tokens=4096)
    examples = TrainingExamples(
        open_data(on_records, folder),
        lambda each: encoder.encode(each.conversation, each.images),
        tmp_path / SKIPPED,
        seed=0,
    )
    first = [examples[place].tokens.tolist() for place in range(len(examples))]
    named = [json.loads(line) for line in (tmp_path / SKIPPED).read_text().splitlines()]
    reasons = {line["reason"].partition(":")[0] for line in named}
    assert all(line["source"] == "two" for line in named)
    assert any("cannot be decoded" in line["reason"] for line in named), reasons
    assert first == [examples[place].tokens.tolist() for place in range(len(examples))]


def test_a_bad_record_is_named_in_a_file(on_records: Recipe, written: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(written, folder)
    content = json.loads((folder / "conversations.json").read_bytes())
    content[0]["images"][0] = "./gone.png"
    (folder / "conversations.json").write_text(json.dumps(content))
    assert train(on_records, out, folder).finished
    (line,) = read_metrics_like(out / training.BAD_RECORDS)
    assert line["index"] == 0
    assert line["reason"] == "an image is missing: gone.png"


def read_metrics_like(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_missing_data_is_named_source_by_source(on_records: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"two: .*--data DIR says where"):
        train(on_records, tmp_path / "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"more: no file conversations.json in "):
        train(on_records, tmp_path / "b", tmp_path / "empty")
    outside = changed(on_records, sources={"two": Records(files=("../*.json",))}, phases=(
        Stretch(steps=1, shares={"two": 1}),
    ))  # fmt: skip
    with pytest.raises(UsageError, match="below the data folder"):
        train(outside, tmp_path / "c", tmp_path / "empty")


# Beginning from a checkpoint


def test_stage_2_begins_from_stage_1(uninterrupted: Path, tmp_path: Path) -> None:
    done = migtrain(
        "miniature", "--config", "mini-smoke", "--steps", 2, "--model", uninterrupted / MODEL,
        "--out", tmp_path / "second",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert losses_and_accuracy(tmp_path / "second")[0][0][1] < losses(uninterrupted)[1][1]
    merged = migtrain(
        "merge", uninterrupted / MODEL, tmp_path / "second" / MODEL,
        "--out", tmp_path / "merged",
    )  # fmt: skip
    assert merged.status == 0, merged.err


def test_documented_commands_pass_through_torchrun() -> None:
    """It would take an option of ours for its own wherever that is the beginning of one."""
    from torch.distributed.run import get_args_parser

    text = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"torchrun (.+ migtrain miniature .+)", text)
    assert any("--model" in each for each in commands)
    for each in commands:
        read = get_args_parser().parse_args(each.split())
        assert read.training_script_args[0] == "miniature"


def test_frozen_parts_stay(toy: Recipe, uninterrupted: Path, tmp_path: Path) -> None:
    from migtrain.tensor_files import read_checkpoint

    model = changed(
        toy.model, sizes=None, checkpoint=str(uninterrupted / MODEL), frozen=("vision", "merger")
    )
    assert train(changed(toy, model=model).with_steps(3), tmp_path / "out").finished
    before = read_checkpoint(uninterrupted / MODEL).tensors
    after = read_checkpoint(tmp_path / "out" / MODEL).tensors
    same = {
        name
        for name, tensor in before.items()
        if (tensor.read(0, tensor.count) == after[name].read(0, tensor.count)).all()
    }
    assert {name for name in before if name.startswith("visual.")} <= same
    assert "model.embed_tokens.weight" not in same


@pytest.mark.parametrize(
    ("start", "message"),
    [("./nowhere", "there is no such folder"), ("a/b", "cannot be downloaded")],
)
def test_a_start_that_is_not_there(toy: Recipe, tmp_path: Path, start: str, message: str) -> None:
    model = changed(toy.model, sizes=None, checkpoint=start)
    with pytest.raises(UsageError, match=message):
        train(changed(toy, model=model), tmp_path / "out")


def test_another_architecture_is_refused(toy: Recipe, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "llama"}')
    model = changed(toy.model, sizes=None, checkpoint=str(tmp_path / "other"))
    with pytest.raises(UsageError, match="is a llama; this recipe trains qwen2_vl"):
        train(changed(toy, model=model), tmp_path / "out")


def test_trainer_settings_that_do_not_exist_are_named(toy: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'trainer' does not fit .*sparkle"):
        train(changed(toy, trainer={"sparkle": True}), tmp_path / "out")


def test_without_torch_the_remedy_is_said(
    toy: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(AdapterError, match=r"pip install migtrain"):
        train(toy, tmp_path / "out")


def test_the_command_needs_few_packages_before_it_trains() -> None:
    """So that it runs from a source tree on a machine that has torch, and little else."""
    code = (
        "import sys, migtrain.cli.miniature; print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed = {"click", "filelock", "msgspec", "numpy", "PIL", "yaml"}
    others = {"aiohttp", "huggingface_hub", "pandas", "pyarrow", "tabulate", "torch", "tqdm"}
    assert needed <= set(done.stdout.split())
    assert not others & set(done.stdout.split())


# The diary


def test_rewinding_forgets_later_lines_and_a_cut_one(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    rewind(path, 1)
    assert read_metrics(path) == [{"step": 1, "loss": 3}]
