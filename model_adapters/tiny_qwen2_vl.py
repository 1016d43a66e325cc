"""Builds a tiny, untrained checkpoint of the Qwen2-VL architecture, in code and from a seed.

It answers chats with several images through the very code paths of the published 2B and 7B
checkpoints, in milliseconds on a CPU, and what it says means nothing: it has learnt nothing. The
folder has the layout of a published checkpoint, so that transformers and vLLM both load it.

::

    python -m model_adapters.tiny_qwen2_vl FOLDER [--seed 0]
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "SPECIAL_TOKENS",
    "Merges",
    "Sizes",
    "build",
    "make_config",
    "make_tokenizer",
    "write_processing",
]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen2-VL's special tokens in their published order; they follow the 256 byte tokens."""

Merges = Sequence[tuple[str, str]]
"""Pairs of tokens that make a longer one, in the order in which byte-pair encoding joins them."""

CHAT_TEMPLATE = """\
{%- set images = namespace(shown=0) -%}
{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] in ('image', 'image_url') -%}
                {%- set images.shown = images.shown + 1 -%}
                {%- if add_vision_id -%}
                    {{- 'Picture ' ~ images.shown ~ ': ' -}}
                {%- endif -%}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
            {%- else -%}
                {{- part['text'] -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""Means what the published Qwen2-VL template means, for text and images."""
NUMBERED_TEMPLATE = CHAT_TEMPLATE.replace(
    "if add_vision_id", "if add_vision_id is not defined or add_vision_id"
)
"""The same, but images are numbered unless that is declined."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The dimensions of the model; the defaults make about 0.6 million parameters, 2.5 MB.

    ``initializer_range`` is the standard deviation of the random weights. It is larger than Qwen's
    0.02, with which a model this small says the same whatever it is shown.

    ``min_pixels`` and ``max_pixels`` bound an image's area after resizing; each 28 x 28 pixels
    become one token of the prompt.
    """

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 256
    vision_hidden: int = 64
    vision_layers: int = 2
    vision_heads: int = 2
    max_positions: int = 8192
    initializer_range: float = 0.1
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 64 * 28 * 28


def build(
    folder: Path,
    *,
    seed: int = 0,
    sizes: Sizes | None = None,
    merges: Merges = (),
    numbered: bool = False,
) -> Path:
    """Write the checkpoint into ``folder`` and return it; the same arguments give the same bytes.

    Its chat template says ``Picture 1:`` before an image where ``numbered``, as Qwen2-VL's does
    where it is asked to (``add_vision_id``; model card, "Add ids for Multiple Image Inputs"). Files
    of an earlier build are replaced. Needs torch and transformers (``ImportError``).
    """
    import torch

    sizes = sizes or Sizes()
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
        torch.manual_seed(seed)
        model = _untyped("transformers").Qwen2VLForConditionalGeneration(make_config(sizes, merges))
    model.save_pretrained(folder)
    write_processing(folder, sizes, merges, numbered)
    return folder


def make_tokenizer(merges: Merges = ()) -> Any:
    """A `Qwen2Tokenizer` of 256 byte tokens; without merges every text is its UTF-8 bytes."""
    # Sorted by code point, the byte alphabet stands in the order of Qwen's own first 256 tokens.
    byte_tokens = sorted(_untyped("tokenizers.pre_tokenizers").ByteLevel.alphabet())
    end_of_text, *others = SPECIAL_TOKENS
    tokens = [*byte_tokens, *("".join(pair) for pair in merges), *SPECIAL_TOKENS]
    return _untyped("transformers").Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=list(merges),
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token=end_of_text,
        additional_special_tokens=others,
        chat_template=CHAT_TEMPLATE,
        model_max_length=32768,
    )


def make_config(sizes: Sizes, merges: Merges = ()) -> Any:
    """The `Qwen2VLConfig` of a model of these sizes over `make_tokenizer`'s vocabulary."""
    plain = 256 + len(merges)
    token_id = {token: plain + index for index, token in enumerate(SPECIAL_TOKENS)}
    rotary_pairs = sizes.hidden // sizes.heads // 2
    time_pairs = rotary_pairs // 4  # the published split between time, height and width: 2 : 3 : 3
    space_pairs = (rotary_pairs - time_pairs) // 2
    return _untyped("transformers").Qwen2VLConfig(
        architectures=["Qwen2VLForConditionalGeneration"],
        text_config={
            "vocab_size": plain + len(SPECIAL_TOKENS),
            "hidden_size": sizes.hidden,
            "intermediate_size": sizes.intermediate,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.key_value_heads,
            "max_position_embeddings": sizes.max_positions,
            "initializer_range": sizes.initializer_range,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [time_pairs, space_pairs, space_pairs],
            },
            "bos_token_id": token_id["<|endoftext|>"],
            "eos_token_id": token_id["<|im_end|>"],
            "pad_token_id": token_id["<|endoftext|>"],
        },
        vision_config={
            "depth": sizes.vision_layers,
            "embed_dim": sizes.vision_hidden,
            "hidden_size": sizes.hidden,
            "num_heads": sizes.vision_heads,
            "initializer_range": sizes.initializer_range,
        },
        image_token_id=token_id["<|image_pad|>"],
        video_token_id=token_id["<|video_pad|>"],
        vision_start_token_id=token_id["<|vision_start|>"],
        vision_end_token_id=token_id["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="float32",
    )


def write_processing(
    folder: Path, sizes: Sizes, merges: Merges = (), numbered: bool = False
) -> None:
    """Write what stands beside the weights: tokenizer, chat template, image and decoding settings.

    The decoding settings are Qwen2-VL's published ones. No ``processor_config.json`` is written:
    published checkpoints have none, and one without a video section cannot be loaded.
    """
    tokenizer = make_tokenizer(merges)
    if numbered:
        tokenizer.chat_template = NUMBERED_TEMPLATE
    tokenizer.save_pretrained(folder)
    end_of_text = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    _write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": end_of_text,
            "pad_token_id": end_of_text,
            "eos_token_id": [tokenizer.convert_tokens_to_ids("<|im_end|>"), end_of_text],
            "do_sample": True,
            "repetition_penalty": 1.0,
            "temperature": 0.01,
            "top_k": 1,
            "top_p": 0.001,
        },
    )
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "min_pixels": sizes.min_pixels,
            "max_pixels": sizes.max_pixels,
        },
    )


def _untyped(module: str) -> Any:
    """Import when needed, without types: transformers' own do not say what it accepts."""
    return importlib.import_module(module)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Build one from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_adapters.tiny_qwen2_vl",
        description="Write a tiny, untrained Qwen2-VL checkpoint: for tests, not for results.",
    )
    parser.add_argument("folder", type=Path, help="where to write it; made when absent")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default 0)")
    options = parser.parse_args(arguments)
    folder = build(options.folder, seed=options.seed)
    print(f"{folder}: an untrained Qwen2-VL; its answers are random, whatever it is asked")


if __name__ == "__main__":
    main()
