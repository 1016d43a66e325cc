"""From the adapter's settings to vLLM's engine arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migbench.messages import AdapterError
from model_adapters.vllm.adapter import VllmAdapter
from model_adapters.vllm.arguments import check_names, engine_arguments, lora_rank
from model_adapters.vllm.settings import VllmSettings


def arguments_for(checkpoint: str, **settings: Any) -> dict[str, Any]:
    return engine_arguments(VllmSettings(checkpoint=checkpoint, **settings))


def test_defaults_suit_the_benchmark() -> None:
    arguments = arguments_for("a/b")
    assert arguments["model"] == "a/b"
    assert arguments["limit_mm_per_prompt"] == {"image": 6, "video": 0}
    assert arguments["generation_config"] == "vllm"
    assert arguments["enable_prefix_caching"] is True
    assert arguments["interleave_mm_strings"] is True
    # What nobody has said is the checkpoint's, or vLLM's, to decide.
    assert not {"max_model_len", "mm_processor_kwargs", "enable_lora"} & arguments.keys()


def test_settings_reach_the_engine() -> None:
    arguments = arguments_for(
        "a/b",
        revision="v1",
        dtype="float32",
        max_model_len=100,
        max_images=9,
        max_pixels=5000,
        trust_remote_code=True,
        engine_args={
            "tensor_parallel_size": 2,
            "seed": 5,
            "mm_processor_kwargs": {"max_dynamic_patch": 4},
        },
    )
    expected = {
        "revision": "v1",
        "tokenizer_revision": "v1",
        "dtype": "float32",
        "max_model_len": 100,
        "limit_mm_per_prompt": {"image": 9, "video": 0},
        "mm_processor_kwargs": {"max_pixels": 5000, "max_dynamic_patch": 4},
        "trust_remote_code": True,
        "tensor_parallel_size": 2,
        "seed": 5,
    }
    assert expected.items() <= arguments.items()


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("model", "--model"),
        ("max_model_len", "--model-arg max_model_len"),
        ("limit_mm_per_prompt", "--model-arg max_images"),
        ("enable_lora", "--model-arg lora"),
    ],
)
def test_what_has_a_setting_is_not_set_twice(name: str, flag: str) -> None:
    with pytest.raises(AdapterError, match=f"--engine-args: {name} is set by {flag}"):
        arguments_for("a/b", engine_args={name: 1})


def test_an_unknown_argument_is_named_with_the_nearest() -> None:
    known = {"tensor_parallel_size", "seed"}
    check_names(["seed"], known)
    with pytest.raises(AdapterError, match=r"tensor_parallel; did you mean tensor_parallel_size\?"):
        check_names(["seed", "tensor_parallel"], known)
    with pytest.raises(AdapterError, match="no engine argument zzz; `vllm serve --help=all`"):
        check_names(["zzz"], known)


@pytest.mark.parametrize(("rank", "bound"), [(1, 1), (2, 8), (16, 16), (17, 32), (512, 512)])
def test_the_bound_on_a_lora_rank_is_the_next_that_vllm_knows(
    tmp_path: Path, rank: int, bound: int
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    assert lora_rank(str(tmp_path)) == bound
    arguments = arguments_for("a/b", lora=str(tmp_path))
    assert {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": bound,
    }.items() <= arguments.items()


def test_a_lora_on_a_hub_has_the_rank_that_the_user_says() -> None:
    assert "max_lora_rank" not in arguments_for("a/b", lora="c/d")
    more = {"max_lora_rank": 64}
    assert arguments_for("a/b", lora="c/d", engine_args=more)["max_lora_rank"] == 64


@pytest.mark.parametrize("content", [None, "not JSON", "[]", "{}", '{"r": "many"}', '{"r": 513}'])
def test_what_is_no_lora_adapter_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "adapter_config.json").write_text(content)
    with pytest.raises(AdapterError, match=f"lora {tmp_path}: "):
        lora_rank(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_images": 0}, "max_images must be a whole number of at least 1"),
        ({"max_model_len": -1}, "max_model_len must be"),
        ({"preparing_threads": 1.5}, "preparing_threads must be"),
        ({"engine_args": "seed=1"}, "--engine-args: a mapping"),
        ({"image_cache_mb": -1}, "image_cache_mb must be"),
        ({"min_pixels": 9, "max_pixels": 4}, r"--min-pixels \(9\) exceeds --max-pixels \(4\)"),
        ({"engine_args": {"max_num_seqs": "many"}}, "max_num_seqs must be"),
    ],
)
def test_wrong_settings_are_named_before_anything_starts(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdapterError, match=message):
        VllmAdapter("a/b", **settings)


def test_a_folder_that_does_not_exist_is_named() -> None:
    with pytest.raises(AdapterError, match="there is no such folder"):
        VllmAdapter("./no/such/folder")
