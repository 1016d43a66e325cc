"""How large a batch is: by memory beforehand, and by what has turned out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_chat import Generate, answers, ask, texts

from migbench.messages import AdapterError, ImageFile
from model_adapters.transformers import generation
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.transformers.memory import (
    AUTO_MOST,
    PROBATION,
    USABLE,
    BatchSize,
    fitting,
    token_bytes,
)


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 9), st.integers(0, 5000))
def test_as_many_rows_fit_as_there_is_room_for(lengths: list[int], cost: int, free: int) -> None:
    count = fitting(lengths, cost, free)
    assert 1 <= count <= len(lengths)
    assert count == 1 or count * max(lengths[:count]) * cost <= USABLE * free
    if count < len(lengths):
        assert (count + 1) * max(lengths[: count + 1]) * cost > USABLE * free - cost


def test_half_of_what_did_not_fit_is_exceeded_slowly_and_only_after_a_while() -> None:
    size = BatchSize(32)
    size.went_well(32)
    assert size.limit == 32
    size.ran_out(32)
    size.ran_out(16)
    assert size.limit == 8
    for _ in range(PROBATION - 1):
        size.went_well(8)
        size.went_well(3)  # not a full one: says nothing
    assert size.limit == 8
    size.went_well(8)
    assert size.limit == 9
    size.ran_out(1)
    assert size.limit == 1
    for _ in range(PROBATION * 100):
        size.went_well(size.limit)
    assert size.limit == 32


def test_auto_batches_as_many_as_fit_and_answers_the_same(
    checkpoint: Path,
    images: list[ImageFile],
    generate: Generate,
    adapter: TransformersAdapter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [ask(images[i : i + 2], f"Number {i}?") for i in range(7)]
    expected = texts(answers(adapter, requests))
    generate.calls.clear()
    automatic = TransformersAdapter(str(checkpoint), batch_size="auto")
    assert automatic.max_concurrency == 2 * AUTO_MOST
    assert texts(answers(automatic, requests)) == expected
    assert generate.batch_sizes == [7]
    generate.calls.clear()
    width = 12 + max(automatic._chat.prepare(request).length for request in requests)
    cost = token_bytes(automatic._chat._model)
    monkeypatch.setattr(generation, "free_bytes", lambda device: 3.5 * width * cost / USABLE)
    assert texts(answers(automatic, requests)) == expected
    assert max(generate.batch_sizes) == 3
    assert sum(generate.batch_sizes) == 7


def test_a_size_that_did_not_fit_is_not_tried_again(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    import torch

    requests = [ask([image], f"Number {i}?") for i, image in enumerate(images)]
    expected = texts(answers(adapter, requests))
    generate.calls.clear()

    def exhaust(batch_size: int) -> None:
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    generate.before = exhaust
    assert texts(answers(adapter, requests)) == expected
    # Of the eight, four are tried, again without the prefixes of the other four, then in halves.
    assert generate.batch_sizes == [4, 4, 2, 2, 2, 2]


def test_a_model_of_unknown_shape_needs_a_number() -> None:
    class Shapeless:
        def get_text_config(self, decoder: bool) -> object:
            return object()

    class Model:
        config: Any = Shapeless()

    with pytest.raises(AdapterError, match="--batch-size auto cannot be worked out"):
        token_bytes(Model())
