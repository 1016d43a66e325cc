"""Averaging checkpoints: exact, and refused before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import migtrain_command as migtrain
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from migbench.errors import DataError, UsageError
from migtrain.merging import INDEX, WEIGHTS, merge_weights

Tensors = dict[str, Tensor]

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SHAPES = {"embed": (7, 4), "layer.weight": (5, 3, 2), "bias": (9,), "scalar": ()}


def checkpoint(folder: Path, tensors: Tensors, *, shards: int = 1, **config: Any) -> Path:
    """A checkpoint folder, single or in two shards."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dtype": "float32"} | config))
    (folder / "tokenizer.json").write_text(f'{{"of": "{folder.name}"}}')
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "trainer_state.json").write_text("{}")
    if shards == 1:
        save_file(tensors, folder / WEIGHTS)
        return folder
    placed = {name: SHARDS[number % 2] for number, name in enumerate(tensors)}
    for shard in SHARDS:
        held = {name: tensors[name] for name in tensors if placed[name] == shard}
        save_file(held, folder / shard)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder


def random_tensors(seed: int, dtype: torch.dtype = torch.float32) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()
    }


def load(folder: Path) -> Tensors:
    return {
        name: tensor
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 2])
def test_the_mean_of_two(tmp_path: Path, dtype: torch.dtype, shards: int) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1, dtype), shards=shards)
    b = checkpoint(tmp_path / "b", random_tensors(2, dtype))
    merged = merge_weights([a, b], tmp_path / "out")
    first, second, mean = load(a), load(b), load(merged.folder)
    assert mean.keys() == first.keys()
    for name in mean:
        assert mean[name].dtype == dtype
        exact = (first[name].double() + second[name].double()) / 2
        assert torch.equal(mean[name], exact.to(dtype))
    assert merged.parameters == 28 + 30 + 9 + 1
    assert merged.files == shards


def test_the_mean_of_three_is_rounded_once(tmp_path: Path) -> None:
    folders = [checkpoint(tmp_path / str(seed), random_tensors(seed)) for seed in range(3)]
    mean = load(merge_weights(folders, tmp_path / "out").folder)
    for name, tensor in mean.items():
        exact = torch.stack([load(folder)[name].double() for folder in folders]).mean(0)
        torch.testing.assert_close(tensor, exact.float(), rtol=1e-7, atol=0)


@given(
    st.lists(st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False), min_size=1),
    st.integers(1, 5),
)
def test_the_mean_of_a_checkpoint_with_itself_is_itself(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], copies: int
) -> None:
    folder = tmp_path_factory.mktemp("same")
    a = checkpoint(folder / "a", {"x": torch.tensor(numbers, dtype=torch.float32)})
    merged = merge_weights([a] * copies, folder / "out")
    assert torch.equal(load(merged.folder)["x"], load(a)["x"])


def test_weights_say_how_much_each_counts(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": torch.tensor([1.0, 2.0])})
    b = checkpoint(tmp_path / "b", {"x": torch.tensor([5.0, 10.0])})
    merged = merge_weights([a, b], tmp_path / "out", weights=[1, 3])
    assert load(merged.folder)["x"].tolist() == [4.0, 8.0]
    one = merge_weights([a, b], tmp_path / "one", weights=[0, 1])
    assert load(one.folder)["x"].tolist() == [5.0, 10.0]


def test_what_is_copied_is_the_firsts_settings_and_no_training_state(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1))
    b = checkpoint(tmp_path / "b", random_tensors(2))
    out = merge_weights([a, b], tmp_path / "deep" / "out").folder
    assert {path.name for path in out.iterdir()} == {"config.json", "tokenizer.json", WEIGHTS}
    assert json.loads((out / "tokenizer.json").read_bytes()) == {"of": "a"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_another_type_is_written_and_named(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1), text_config={"dtype": "float32"})
    out = merge_weights([a], tmp_path / "out", dtype=torch.bfloat16).folder
    assert {tensor.dtype for tensor in load(out).values()} == {torch.bfloat16}
    config = json.loads((out / "config.json").read_bytes())
    assert config == {"dtype": "bfloat16", "text_config": {"dtype": "bfloat16"}}


def test_a_tied_output_layer_may_be_stored_or_not(tmp_path: Path) -> None:
    tensors = random_tensors(1)
    a = checkpoint(
        tmp_path / "a",
        tensors | {"lm_head.weight": tensors["embed"].clone()},
        tie_word_embeddings=True,
    )
    b = checkpoint(tmp_path / "b", random_tensors(2), text_config={"tie_word_embeddings": True})
    mean = load(merge_weights([a, b], tmp_path / "out").folder)
    assert mean.keys() == tensors.keys()
    c = checkpoint(tmp_path / "c", random_tensors(3) | {"lm_head.weight": tensors["embed"].clone()})
    with pytest.raises(DataError, match=r"b: lacks 1 tensors .*lm_head.weight"):
        merge_weights([c, b], tmp_path / "other")


def test_whole_numbers_must_agree(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": torch.tensor([3, 4])})
    b = checkpoint(tmp_path / "b", {"x": torch.tensor([3, 4])})
    c = checkpoint(tmp_path / "c", {"x": torch.tensor([3, 5])})
    d = checkpoint(tmp_path / "d", {"x": torch.tensor([3.0, 4.0])})
    assert load(merge_weights([a, b], tmp_path / "same").folder)["x"].tolist() == [3, 4]
    with pytest.raises(DataError, match="whole numbers that differ"):
        merge_weights([a, c], tmp_path / "other")
    with pytest.raises(DataError, match="whole numbers in one checkpoint"):
        merge_weights([a, d], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_numbers_that_are_not_finite_leave_nothing_behind(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": torch.tensor([1.0, float("nan")])})
    with pytest.raises(DataError, match="x: holds numbers that are not finite"):
        merge_weights([a], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-3])


def cut_header(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:20])


def other_shape(folder: Path) -> None:
    save_file(random_tensors(2) | {"bias": torch.zeros(8)}, folder / WEIGHTS)


def lacking(folder: Path) -> None:
    tensors = random_tensors(2)
    del tensors["bias"]
    save_file(tensors, folder / WEIGHTS)


def with_more(folder: Path) -> None:
    save_file(random_tensors(2) | {"more": torch.zeros(8)}, folder / WEIGHTS)


def of_another_family(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


def index_of_elsewhere(folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"embed": "../a/model.safetensors"}}))


def index_of_too_much(folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"none": WEIGHTS}}))


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "was it cut off"),
        (cut_header, "is no whole safetensors file"),
        (other_shape, r"bias: \[9\] in .*a, \[8\] in .*b; .*different architectures"),
        (lacking, r"b: lacks 1 tensors that .*a has \(bias\); .*different architectures"),
        (with_more, r"a: lacks 1 tensors that .*b has \(more\)"),
        (of_another_family, "model_type: None in .*a, llama in .*b; .*different architectures"),
        (index_of_elsewhere, "names files outside"),
        (index_of_too_much, "lacks the tensor none"),
        (without_weights, "holds neither"),
        (without_config, "no checkpoint folder"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1))
    b = checkpoint(tmp_path / "b", random_tensors(2))
    damage(b)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message):
        merge_weights([a, b], tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    done = migtrain("merge", a, b, "--out", tmp_path / "out")
    assert done.status == 2
    assert "Traceback" not in done.err


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_weights_that_make_no_mean_are_refused(tmp_path: Path, weights: list[float]) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1))
    with pytest.raises(UsageError, match="weights"):
        merge_weights([a, a], tmp_path / "out", weights=weights)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1))
    with pytest.raises(UsageError, match="exists already"):
        merge_weights([a], a)


def test_numbers_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_tensors(1))
    done = migtrain("merge", a, "--out", tmp_path / "out", "--weights", "1,x")
    assert (done.status, "--weights 1,x" in done.err) == (2, True)
