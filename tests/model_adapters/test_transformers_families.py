"""Other families than Qwen2-VL share prefixes as well, and answer the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tiny_chat import OneByOne, answers, ask, texts

from migbench.messages import Answer, ImageFile
from model_adapters import tiny_qwen2_vl
from model_adapters.transformers.adapter import TransformersAdapter

SIZES = tiny_qwen2_vl.Sizes()


def qwen_text() -> dict[str, Any]:
    text: dict[str, Any] = tiny_qwen2_vl.make_config(SIZES).text_config.to_dict()
    return {name: text[name] for name in text if name not in ("model_type", "architectures")}


def qwen_tokens() -> dict[str, Any]:
    config = tiny_qwen2_vl.make_config(SIZES)
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return {name: getattr(config, name) for name in names} | {"tie_word_embeddings": True}


VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "out_hidden_size": 128,
    "num_heads": 2,
    "patch_size": 14,
    "initializer_range": 0.1,
}


def qwen2_5_vl(folder: Path) -> Any:
    """Windows in the vision tower."""
    import transformers

    tiny_qwen2_vl.write_processing(folder, SIZES)
    vision = VISION | {"fullatt_block_indexes": [1], "window_size": 56}
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(
            text_config=qwen_text(), vision_config=vision, **qwen_tokens()
        )
    )


def qwen3_vl(folder: Path) -> Any:
    """Interleaved positions; images that enter several layers."""
    import transformers

    tiny_qwen2_vl.write_processing(folder, SIZES)
    vision = VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    text = qwen_text() | {"head_dim": SIZES.hidden // SIZES.heads}
    text["rope_parameters"] = text["rope_parameters"] | {"mrope_interleaved": True}
    return transformers.Qwen3VLForConditionalGeneration(
        transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **qwen_tokens())
    )


def llava(folder: Path) -> Any:
    """Positions in a row, the text model is a Llama; every image takes 16 tokens."""
    import transformers

    tokenizer = tiny_qwen2_vl.make_tokenizer()
    tokenizer.save_pretrained(folder)
    processing = {
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 56},
            "crop_size": {"height": 56, "width": 56},
        },
        "processor_config.json": {
            "patch_size": 14,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
            "image_token": "<|image_pad|>",
        },
    }
    for name, content in processing.items():
        content["processor_class"] = "LlavaProcessor"
        (folder / name).write_text(json.dumps(content))
    size = {"num_hidden_layers": 2, "initializer_range": 0.1}
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=transformers.CLIPVisionConfig(
                hidden_size=64,
                intermediate_size=128,
                num_attention_heads=2,
                image_size=56,
                patch_size=14,
                **size,
            ),
            text_config=transformers.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=128,
                intermediate_size=256,
                num_attention_heads=4,
                num_key_value_heads=2,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
                **size,
            ),
            image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
            vision_feature_layer=-1,
        )
    )


@pytest.mark.parametrize("family", [qwen2_5_vl, qwen3_vl, llava])
def test_a_family_answers_as_one_by_one_generation_does(
    family: Callable[[Path], Any], tmp_path: Path, images: list[ImageFile]
) -> None:
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        family(tmp_path).save_pretrained(tmp_path)
    requests = [
        ask(images[first : first + 1 + first], f"Number {number}? " * number)
        for first in range(3)
        for number in (1, 2, 3)
    ]
    bare = OneByOne(tmp_path)
    expected = [bare.answer(request) for request in requests]
    assert len(set(expected)) > 5
    outcomes = answers(TransformersAdapter(str(tmp_path), batch_size=5), requests)
    assert texts(outcomes) == expected
    cached = [bool(one.cached_tokens) for one in outcomes if isinstance(one, Answer)]
    assert cached == [False, True, True] * 3
