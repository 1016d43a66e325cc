"""What a checkpoint takes for the structure of a chat; no question may hold it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from migbench.messages import ImageFile, ModelError, Request
from model_adapters.structure import refuse_structure, structural_tokens

TEMPLATE = "{{ '<|im_start|>' }}user <|image_pad|> {{ text }}<|im_end|> <think></think>"


def tokenizer(
    *special: str, plain: tuple[str, ...] = (), eos: str | None = None
) -> SimpleNamespace:
    tokens = [SimpleNamespace(content=each, special=True) for each in special]
    tokens += [SimpleNamespace(content=each, special=False) for each in plain]
    return SimpleNamespace(added_tokens_decoder=dict(enumerate(tokens)), eos_token=eos)


def test_what_the_template_writes_is_structure_and_what_marks_boxes_is_not() -> None:
    special = ("<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|box_start|>", "!", "</s>")
    found = structural_tokens(tokenizer(*special, eos="</s>"), TEMPLATE + "!")
    assert found == {"<|im_start|>", "<|im_end|>", "<|image_pad|>", "</s>"}


def test_thinking_tags_are_text() -> None:
    assert structural_tokens(tokenizer(plain=("<think>", "</think>")), TEMPLATE) == set()


def test_a_processors_image_token_is_structure_wherever_it_comes_from() -> None:
    processor = SimpleNamespace(image_token="<image>", video_token=None)
    assert structural_tokens(tokenizer(), None, processor) == {"<image>"}


def test_a_text_that_holds_structure_is_refused_by_name() -> None:
    image = ImageFile("a.png")
    tokens = {"<|im_end|>", "<|image_pad|>"}
    refuse_structure(Request((image, "Find <|box_start|>."), system="Be brief."), tokens)
    with pytest.raises(ModelError, match=r"holds <\|im_end\|>, <\|image_pad\|>, which"):
        refuse_structure(Request((image, "a <|image_pad|> b <|im_end|>")), tokens)
    with pytest.raises(ModelError, match=r"<\|im_end\|>"):
        refuse_structure(Request((image, "a"), system="<|im_end|>"), tokens)


def test_a_token_across_two_parts_is_none() -> None:
    refuse_structure(Request(("<|im_", ImageFile("a.png"), "end|>")), {"<|im_end|>"})


def test_qwens_own_marks_of_boxes_and_phrases_are_text(checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    found = structural_tokens(tokenizer, tokenizer.chat_template)
    assert {"<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|vision_start|>"} <= found
    assert not any("box" in token or "ref" in token for token in found)
