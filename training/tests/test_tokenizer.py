"""The miniature's vocabulary: shorter prompts, the same texts, boxes digit by digit."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from migbench.errors import UsageError
from migbench.mini import TASKS
from migtrain.miniature.scenes import SINGLE, SceneSource
from migtrain.miniature.tokenizer import learn_merges, read_merges
from model_adapters.tiny_qwen2_vl import SPECIAL_TOKENS, make_tokenizer

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(read_merges("mini"))


@pytest.mark.parametrize("task", [SINGLE, *TASKS])
def test_prompts_are_less_than_half_as_long(tokenizer: Any, task: str) -> None:
    (each_round,) = SceneSource(task, seed=99).example(5).conversation.rounds
    text = each_round.question.replace("<image>", "")
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokens) == text
    assert len(tokens) < len(make_tokenizer()(text)["input_ids"]) / 2


def test_boxes_are_read_digit_by_digit(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("(123,45)")["input_ids"])
    assert [token for token in tokens if token.isdigit()] == list("12345")


def test_special_tokens_come_last_and_none_twice(tokenizer: Any) -> None:
    size = 256 + len(read_merges("mini")) + len(SPECIAL_TOKENS)
    assert len(tokenizer) == size
    assert tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS[-1]) == size - 1


@examples(0.25)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_unicode_composes_it(text: str) -> None:
    tokenizer = make_tokenizer(read_merges("mini"))
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokens, skip_special_tokens=False) == unicodedata.normalize("NFC", text)


def test_the_most_frequent_pair_is_joined_first() -> None:
    assert learn_merges(["the then there <|box_start|>"])[:2] == [("t", "h"), ("th", "e")]
    assert learn_merges([]) == []


def test_unknown_merges_are_refused() -> None:
    assert read_merges(None) == []
    with pytest.raises(UsageError, match="choose from mini"):
        read_merges("maxi")
