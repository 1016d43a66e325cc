"""Averaging checkpoints: exact to float32 rounding, streamed, and refused before it is too late."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import migtrain_command as migtrain
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from migbench.errors import DataError, UsageError
from migtrain import merging
from migtrain.merging import merge_weights
from migtrain.tensor_files import (
    INDEX,
    WEIGHTS,
    from_float32,
    read_checkpoint,
    to_float32,
    write_header,
)

Arrays = dict[str, NDArray[Any]]

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write_file(path: Path, arrays: Arrays, dtype: str = "F32") -> None:
    """A safetensors file; float32 arrays are stored as ``dtype``, others as they are."""
    types = {name: dtype if array.dtype == np.float32 else "I64" for name, array in arrays.items()}
    with path.open("wb") as file:
        write_header(file, ((name, types[name], array.shape) for name, array in arrays.items()))
        for name, array in arrays.items():
            stored = from_float32(array, types[name]) if types[name] != "I64" else array
            file.write(stored.tobytes())


def checkpoint(
    folder: Path, arrays: Arrays, *, dtype: str = "F32", shards: int = 1, **config: Any
) -> Path:
    """A checkpoint folder, single or in two shards."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dtype": "float32"} | config))
    (folder / "tokenizer.json").write_text(f'{{"of": "{folder.name}"}}')
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "trainer_state.json").write_text("{}")
    if shards == 1:
        write_file(folder / WEIGHTS, arrays, dtype)
        return folder
    names = list(arrays)
    placed = {name: SHARDS[number % 2] for number, name in enumerate(names)}
    for shard in SHARDS:
        write_file(
            folder / shard, {name: arrays[name] for name in names if placed[name] == shard}, dtype
        )
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder


def random_arrays(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {"embed": (7, 4), "layer.weight": (5, 3, 2), "bias": (9,), "scalar": ()}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def load(folder: Path) -> Arrays:
    return {
        name: to_float32(tensor.read(0, tensor.count), tensor.dtype).reshape(tensor.shape)
        for name, tensor in read_checkpoint(folder).tensors.items()
    }


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("shards", [1, 2])
def test_the_mean_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, shards: int
) -> None:
    monkeypatch.setattr(merging, "CHUNK", 4)  # many pieces a tensor, the last one shorter
    a = checkpoint(tmp_path / "a", random_arrays(1), dtype=dtype, shards=shards)
    b = checkpoint(tmp_path / "b", random_arrays(2), dtype=dtype)
    merged = merge_weights([a, b], tmp_path / "out")
    first, second, mean = load(a), load(b), load(merged.folder)
    assert mean.keys() == first.keys()
    for name in mean:
        exact = (first[name].astype(np.float64) + second[name]) / 2
        expected = to_float32(from_float32(exact.astype(np.float32).reshape(-1), dtype), dtype)
        np.testing.assert_array_equal(mean[name].reshape(-1), expected)
    assert {tensor.dtype for tensor in read_checkpoint(merged.folder).tensors.values()} == {dtype}
    assert merged.parameters == 28 + 30 + 9 + 1
    assert merged.files == shards


def test_the_mean_of_three_is_their_mean_to_float32_rounding(tmp_path: Path) -> None:
    folders = [checkpoint(tmp_path / str(seed), random_arrays(seed)) for seed in range(3)]
    mean = load(merge_weights(folders, tmp_path / "out").folder)
    for name, array in mean.items():
        exact = np.mean([load(folder)[name].astype(np.float64) for folder in folders], axis=0)
        np.testing.assert_allclose(array, exact, rtol=3e-7, atol=1e-7)


def test_weights_say_how_much_each_counts(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": np.array([1.0, 2.0], np.float32)})
    b = checkpoint(tmp_path / "b", {"x": np.array([5.0, 10.0], np.float32)})
    merged = merge_weights([a, b], tmp_path / "out", weights=[1, 3])
    assert load(merged.folder)["x"].tolist() == [4.0, 8.0]
    one = merge_weights([a, b], tmp_path / "one", weights=[0, 1])
    assert load(one.folder)["x"].tolist() == [5.0, 10.0]


def test_what_is_copied_is_the_firsts_settings_and_no_training_state(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_arrays(1))
    b = checkpoint(tmp_path / "b", random_arrays(2))
    out = merge_weights([a, b], tmp_path / "deep" / "out").folder
    assert {path.name for path in out.iterdir()} == {"config.json", "tokenizer.json", WEIGHTS}
    assert json.loads((out / "tokenizer.json").read_bytes()) == {"of": "a"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_another_type_is_written_and_named(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_arrays(1), text_config={"dtype": "float32"})
    out = merge_weights([a], tmp_path / "out", dtype="BF16").folder
    assert {tensor.dtype for tensor in read_checkpoint(out).tensors.values()} == {"BF16"}
    config = json.loads((out / "config.json").read_bytes())
    assert config == {"dtype": "bfloat16", "text_config": {"dtype": "bfloat16"}}


def test_a_tied_output_layer_may_be_stored_or_not(tmp_path: Path) -> None:
    arrays = random_arrays(1)
    a = checkpoint(
        tmp_path / "a", arrays | {"lm_head.weight": arrays["embed"]}, tie_word_embeddings=True
    )
    b = checkpoint(tmp_path / "b", random_arrays(2), text_config={"tie_word_embeddings": True})
    mean = load(merge_weights([a, b], tmp_path / "out").folder)
    assert mean.keys() == arrays.keys()
    c = checkpoint(tmp_path / "c", random_arrays(3) | {"lm_head.weight": arrays["embed"]})
    with pytest.raises(DataError, match=r"b: lacks 1 tensors .*lm_head.weight"):
        merge_weights([c, b], tmp_path / "other")


def test_whole_numbers_must_agree(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": np.array([3, 4])})
    b = checkpoint(tmp_path / "b", {"x": np.array([3, 4])})
    c = checkpoint(tmp_path / "c", {"x": np.array([3, 5])})
    merge_weights([a, b], tmp_path / "same")
    assert (tmp_path / "same" / WEIGHTS).read_bytes()[-16:] == np.array([3, 4]).tobytes()
    with pytest.raises(DataError, match="whole numbers that differ"):
        merge_weights([a, c], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_numbers_that_are_not_finite_leave_nothing_behind(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", {"x": np.array([1.0, np.nan], np.float32)})
    with pytest.raises(DataError, match="x: holds numbers that are not finite"):
        merge_weights([a], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-3])


def cut_header(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:20])


def huge_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\xff" * 64)


def other_shape(folder: Path) -> None:
    write_file(folder / WEIGHTS, random_arrays(2) | {"bias": np.zeros(8, np.float32)})


def lacking(folder: Path) -> None:
    write_file(folder / WEIGHTS, {k: v for k, v in random_arrays(2).items() if k != "bias"})


def with_more(folder: Path) -> None:
    write_file(folder / WEIGHTS, random_arrays(2) | {"more": np.zeros(8, np.float32)})


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
        (huge_header, "is no whole safetensors file"),
        (other_shape, r"bias: \[9\] in .*a, \[8\] in .*b"),
        (lacking, r"b: lacks 1 tensors that .*a has \(bias\)"),
        (with_more, r"a: lacks 1 tensors that .*b has \(more\)"),
        (index_of_elsewhere, "names files outside"),
        (index_of_too_much, "lacks the tensor none"),
        (without_weights, "holds neither"),
        (without_config, "no checkpoint folder"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    a = checkpoint(tmp_path / "a", random_arrays(1))
    b = checkpoint(tmp_path / "b", random_arrays(2))
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
    a = checkpoint(tmp_path / "a", random_arrays(1))
    with pytest.raises(UsageError, match="weights"):
        merge_weights([a, a], tmp_path / "out", weights=weights)


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_arrays(1))
    with pytest.raises(UsageError, match="exists already"):
        merge_weights([a], a)


def test_large_tensors_are_never_whole_in_memory(tmp_path: Path) -> None:
    array = np.zeros((1 << 24,), np.float32)  # 64 MiB
    a = checkpoint(tmp_path / "a", {"x": array}, dtype="BF16")
    b = tmp_path / "b"
    shutil.copytree(a, b)
    del array
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "CHUNK", 1 << 18)
        tracemalloc.start()
        merge_weights([a, b], tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20


@given(st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=1))
def test_bfloat16_rounds_to_the_nearest(numbers: list[float]) -> None:
    array = np.array(numbers, np.float32)
    bits = from_float32(array, "BF16").astype(np.int64)
    stored = to_float32(bits.astype(np.uint16), "BF16").astype(np.float64)
    lower, upper = (
        to_float32((bits + step).astype(np.uint16), "BF16").astype(np.float64) for step in (-1, 1)
    )
    distance = np.abs(stored - array)
    for neighbour in (lower, upper):
        near = np.abs(neighbour - array)
        assert np.all((distance <= near) | ~np.isfinite(near))


def test_it_loads_where_it_came_from(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from model_adapters import tiny_qwen2_vl

    a, b = (tiny_qwen2_vl.build(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    done = migtrain("merge", a, b, "--out", tmp_path / "mean", "--weights", "1,1")
    assert done.status == 0, done.err
    model = transformers.Qwen2VLForConditionalGeneration
    first, second, mean = (model.from_pretrained(folder) for folder in (a, b, tmp_path / "mean"))
    for ours, x, y in zip(*(each.parameters() for each in (mean, first, second)), strict=True):
        assert torch.equal(ours, (x + y) / 2)


def test_numbers_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    a = checkpoint(tmp_path / "a", random_arrays(1))
    done = migtrain("merge", a, "--out", tmp_path / "out", "--weights", "1,x")
    assert (done.status, "--weights 1,x" in done.err) == (2, True)
