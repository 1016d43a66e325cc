"""A small checkpoint that knows some questions by heart, and guesses at the others.

It is a real LLaVA checkpoint, loaded and run like any other, with random weights. Its vocabulary
has a token for each box that it was taught; that token's output weights are what the model makes of
the question, so that it answers every question with the box of the taught one most like it. Images
in another order, or a wrong one among them, are another question.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from migbench.messages import Request
from model_adapters.tiny_qwen2_vl import SPECIAL_TOKENS

HIDDEN = 64
PATCH = 14
SIDE = 28
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- for part in message['content'] -%}
        {{- '<|image_pad|>' if part['type'] == 'image' else part['text'] -}}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' -}}
"""


def build(folder: Path, taught: Mapping[str, Request], *, seed: int = 0) -> Path:
    """Write the checkpoint into ``folder``; it gives each key of ``taught`` to its request."""
    import torch

    tokenizer = _tokenizer(list(taught))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _untyped("transformers").LlavaForConditionalGeneration(_config(tokenizer)).eval()
    processor = _processor(tokenizer)
    _separate_answers(model, tokenizer, list(taught))
    _teach(model, processor, taught)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _separate_answers(model: Any, tokenizer: Any, answers: list[str]) -> None:
    """Keep the first dimension for "an answer was given": after that comes the end alone."""
    import torch

    language = model.model.language_model
    projector = model.model.multi_modal_projector.linear_2
    with torch.no_grad():
        seen, said = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        written = [projector.weight, projector.bias]
        for layer in language.layers:
            written += [layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight]
        for weight in written:
            weight[0] = 0
        seen[:, 0] = 0
        seen[tokenizer.convert_tokens_to_ids(answers), 0] = 1000
        said.zero_()
        said[tokenizer.eos_token_id, 0] = 100


def _teach(model: Any, processor: Any, taught: Mapping[str, Request]) -> None:
    """All states have the same length, so the most alike is the one with the largest product."""
    import torch

    said = model.get_output_embeddings().weight
    for answer, request in taught.items():
        parts = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "image": part.open()}
            for part in request.parts
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": parts}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            state = model.model(**inputs).last_hidden_state[0, -1]
            said[processor.tokenizer.convert_tokens_to_ids(answer)] = state


def _tokenizer(boxes: Sequence[str]) -> Any:
    byte_tokens = sorted(_untyped("tokenizers.pre_tokenizers").ByteLevel.alphabet())
    tokenizer = _untyped("transformers").Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate([*byte_tokens, *SPECIAL_TOKENS])},
        merges=[],
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )
    tokenizer.add_tokens(list(boxes))
    return tokenizer


def _config(tokenizer: Any) -> Any:
    transformers = _untyped("transformers")
    return transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            projection_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=PATCH,
            initializer_range=1.0,
        ),
        text_config=transformers.Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            initializer_range=0.3,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        tie_word_embeddings=False,
        dtype="float32",
    )


def _processor(tokenizer: Any) -> Any:
    transformers = _untyped("transformers")
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<|image_pad|>",
        chat_template=CHAT_TEMPLATE,
    )


def _untyped(module: str) -> Any:
    return importlib.import_module(module)
