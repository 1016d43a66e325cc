"""Going on from what an image set's first prompt has left behind changes no answer.

The reference is transformers' own ``generate``, one request at a time, with the checkpoint's own
processor.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from support.tiny_chat import Generate, OneByOne, Vision, answers, ask, texts

from migbench.messages import Answer, Generation, ImageFile, Request
from model_adapters import tiny_qwen2_vl
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.transformers.reuse import PrefixReuse


def about(name: str, request: Request, question: str = "", **settings: Any) -> Request:
    parts = (*request.parts[:-1], question) if question else request.parts
    return dataclasses.replace(request, parts=parts, image_set=name, **settings)


def questions(images: Sequence[ImageFile]) -> list[Request]:
    """Image sets of one to six images, with one to three questions of different lengths each."""
    long = "Find all that is red, and say where in the second image it stands. " * 3
    requests = [
        about(str(count), ask(images[start : start + count], max_new_tokens=24), question)
        for start, count in enumerate((1, 2, 3, 4, 5, 6, 2))
        for question in ("Where?", "一 ou deux, où est-ce ?", long)[: 1 + start % 3]
    ]
    # Leading images of another set; system prompts; a text first; texts between; an image twice.
    odd = Generation(max_new_tokens=24)
    i = images
    return [
        *requests,
        about("lead", ask([*i[5:8], i[0]], max_new_tokens=24)),
        about("lead", ask([*i[5:8], i[1]], max_new_tokens=24)),
        about("sub", ask(i[5:7], max_new_tokens=24)),
        *(about("6", requests[-5], system=system) for system in ("Be exact.", "Be brief.")),
        Request(("Compare ", i[0], " with ", i[1], "."), odd, "odd"),
        Request(("Compare ", i[0], " with ", i[1], ", please."), odd, "odd"),
        Request((i[2], "?"), odd, "odd"),
        Request((i[2], i[2], i[3], "?"), odd, "odd"),
        Request(("No image at all?",), odd, "odd"),
    ]


@pytest.mark.parametrize(("seed", "batch_size"), [(0, 1), (1, 5), (2, 64)])
def test_answers_are_those_of_one_by_one_generation(
    seed: int, batch_size: int, checkpoint: Path, tmp_path: Path, images: list[ImageFile]
) -> None:
    built = tiny_qwen2_vl.build(tmp_path, seed=seed) if seed else checkpoint
    requests = questions(images)
    bare = OneByOne(built)
    expected = [bare.answer(request) for request in requests]
    assert len(set(expected)) > len(requests) // 2
    adapter = TransformersAdapter(str(built), batch_size=batch_size)
    for _ in range(2):  # the second time from what the first has left behind
        assert texts(answers(adapter, requests)) == expected
    asyncio.run(adapter.close())


def test_padding_within_a_batch_moves_no_logit(
    adapter: TransformersAdapter, images: list[ImageFile]
) -> None:
    import torch

    prompts = [adapter._chat.prepare(request) for request in questions(images)]
    prompts = [prompt for prompt in prompts if prompt.cuts]
    model, reuse = adapter._chat._model, adapter._chat._reuse
    with torch.inference_mode():
        batch = reuse.inputs(prompts)
        width = batch["past_key_values"].get_seq_length()
        rest = batch["attention_mask"].shape[1] - width
        assert (batch["attention_mask"][:, :width] == 0).any(), "before the prefixes"
        assert (batch["attention_mask"][:, width:] == 0).any(), "before what follows them"
        tails = {name: batch.pop(name)[..., -rest:] for name in ("input_ids", "position_ids")}
        together = model(**tails, **batch).logits[:, -1]
        for prompt, logits in zip(prompts, together, strict=True):
            alone = model(**prompt.inputs).logits[0, -1]
            torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)


# What is computed


async def asked_in_order(
    adapter: TransformersAdapter, requests: Sequence[Request]
) -> dict[int, Answer]:
    """Ask as the runner does: in order, as many under way as the adapter has max_concurrency."""
    waiting = iter(enumerate(requests))
    given: dict[int, Answer] = {}

    async def work() -> None:
        for number, request in waiting:
            given[number] = await adapter.answer(request)

    await asyncio.gather(*(work() for _ in range(adapter.max_concurrency)))
    return given


@pytest.mark.parametrize("batch_size", [1, 3, 4, 32])
def test_each_image_set_is_read_once_whatever_the_batches(
    checkpoint: Path, images: list[ImageFile], vision: Vision, batch_size: int
) -> None:
    sets = [images[start : start + 1 + start % 3] for start in range(6)]
    requests = [
        about(str(number), ask(shown, max_new_tokens=4), f"Number {question}?")
        for number, shown in enumerate(sets)
        for question in range(1 + number % 4)
    ]
    adapter = TransformersAdapter(str(checkpoint), batch_size=batch_size)
    given = asyncio.run(asked_in_order(adapter, requests))
    asyncio.run(adapter.close())
    # The very first prompt is read whole as well, to see whether the model continues alike.
    assert len(vision.grids) == sum(map(len, sets)) + len(sets[0])
    for _, numbers in groupby(range(len(requests)), lambda number: requests[number].image_set):
        first, *others = sorted(given[number].cached_tokens or 0 for number in numbers)
        assert first == 0
        assert all(others)
    assert sum(answer.cached_tokens == 0 for answer in given.values()) == len(sets)


def test_cached_tokens_are_those_up_to_the_last_image(
    adapter: TransformersAdapter, images: list[ImageFile]
) -> None:
    requests = [ask(images[:3], question) for question in ("Left?", "Right, or not?")]
    given = [answer for answer in answers(adapter, requests) if isinstance(answer, Answer)]
    assert given[0].cached_tokens == 0
    # Behind the last image: the end of the image, a line's end, the question, the assistant's turn.
    behind = len("\n") + len("Right, or not?") + len("\nassistant\n") + 3
    assert given[1].cached_tokens == (given[1].prompt_tokens or 0) - behind


def test_leading_images_are_shared_between_sets(
    adapter: TransformersAdapter, images: list[ImageFile], vision: Vision
) -> None:
    answers(adapter, [about("a", ask(images[:3]))])
    vision.grids.clear()
    longer, shorter, other = answers(
        adapter,
        [
            about("b", ask([*images[:3], images[4]])),
            about("c", ask(images[:2])),
            about("d", ask(images[1:3])),
        ],
    )
    assert isinstance(longer, Answer)
    assert isinstance(shorter, Answer)
    assert isinstance(other, Answer)
    assert len(vision.grids) == 1 + 2, "the fourth image, and those that stand elsewhere now"
    assert 0 < (shorter.cached_tokens or 0) < (longer.cached_tokens or 0)
    assert other.cached_tokens == 0


def test_a_later_step_goes_on_from_the_same_images(
    adapter: TransformersAdapter, images: list[ImageFile], vision: Vision
) -> None:
    first, second = ask(images[:3], "Describe them."), ask(images[:3], "It is the dog. Where?")
    answers(adapter, [first])
    vision.grids.clear()
    (answer,) = answers(adapter, [second])
    assert vision.grids == []
    assert isinstance(answer, Answer)
    assert answer.cached_tokens


@pytest.mark.asyncio
async def test_the_oldest_image_sets_are_batched_first(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    requests = [about(name, ask(images[:1]), f"{name}?") for name in "abcabc"]
    await asyncio.gather(*(adapter.answer(request) for request in requests))
    asked = [
        tiny_qwen2_vl.make_tokenizer().decode(row).split("<|vision_end|>")[1].split("<")[0].strip()
        for call in generate.calls
        for row in call["input_ids"].tolist()
    ]
    assert asked == ["a?", "a?", "b?", "b?", "c?", "c?"]


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_prefixes_yet_to_be_read(
    adapter: TransformersAdapter, images: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await adapter.answer(ask(images[:1]))
    assert first.text
    read: list[Any] = []
    original = PrefixReuse._forward

    def forward(reuse: PrefixReuse, *arguments: Any) -> Any:
        read.append(arguments)
        adapter._chat.stop()
        return original(reuse, *arguments)

    monkeypatch.setattr(PrefixReuse, "_forward", forward)
    calls = [adapter.answer(ask([image])) for image in images[1:5]]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["the model was stopped"] * 4
    assert len(read) == 1


# Where it is not done


def plainly(adapter: TransformersAdapter, requests: Sequence[Request]) -> list[str]:
    outcomes = answers(adapter, requests)
    assert [getattr(outcome, "cached_tokens", None) for outcome in outcomes] == [0] * len(requests)
    return texts(outcomes)


def test_a_model_that_continues_otherwise_reads_every_prompt_whole(
    checkpoint: Path,
    adapter: TransformersAdapter,
    images: list[ImageFile],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import torch

    requests = [ask(images[:2], f"Number {i}?") for i in range(6)]
    expected = texts(answers(adapter, requests))

    def in_a_row(_: PrefixReuse, prompt: Any) -> Any:
        return torch.arange(prompt.length)[None]

    monkeypatch.setattr(PrefixReuse, "_positions", in_a_row)
    other = TransformersAdapter(str(checkpoint), batch_size=4)
    assert plainly(other, requests) == expected
    assert caplog.text.count("it goes on otherwise when it reads a prompt in two parts") == 1


def test_a_model_that_cannot_go_on_reads_every_prompt_whole(
    checkpoint: Path,
    images: list[ImageFile],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: PrefixReuse, prompt: Any) -> Any:
        raise TypeError("get_rope_index() misses an argument")

    monkeypatch.setattr(PrefixReuse, "_positions", fail)
    other = TransformersAdapter(str(checkpoint))
    assert plainly(other, [ask(images[:2])] * 2)
    assert "get_rope_index() misses an argument" in caplog.text


def test_a_sliding_window_is_no_plain_cache(
    checkpoint: Path, tmp_path: Path, images: list[ImageFile], caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "sliding"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 0,
        "layer_types": ["sliding_attention"] * 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    sliding = TransformersAdapter(str(folder), batch_size=1)
    requests = [ask(images[:2], "Where?"), ask(images[:2], "Where, then?")]
    bare = OneByOne(folder)
    assert plainly(sliding, requests) == [bare.answer(request) for request in requests]
    assert "it does not keep plain keys and values of every token" in caplog.text


def test_beams_are_read_whole(adapter: TransformersAdapter, images: list[ImageFile]) -> None:
    assert plainly(adapter, [ask(images[:2], num_beams=2)] * 2)


def test_no_room_for_prefixes_still_shares_them_within_a_batch(
    checkpoint: Path, adapter: TransformersAdapter, images: list[ImageFile]
) -> None:
    requests = [ask(images[:2], f"Number {i}?") for i in range(4)]
    expected = texts(answers(adapter, requests))
    roomless = TransformersAdapter(str(checkpoint), batch_size=2, prefix_cache_gb=0)
    outcomes = answers(roomless, requests)
    assert texts(outcomes) == expected
    cached = [outcome.cached_tokens for outcome in outcomes if isinstance(outcome, Answer)]
    assert [bool(tokens) for tokens in cached] == [False, True, False, True]


def test_a_sampled_answer_does_not_depend_on_its_batch(
    checkpoint: Path, adapter: TransformersAdapter, images: list[ImageFile]
) -> None:
    requests = [
        ask(images[i : i + 2], f"{i}?", temperature=0.8, top_p=0.9, seed=5) for i in range(5)
    ]
    together = texts(answers(adapter, requests))
    alone = TransformersAdapter(str(checkpoint), batch_size=1)
    assert texts(answers(alone, requests)) == together
    greedy = [ask(images[i : i + 2], f"{i}?") for i in range(5)]
    assert texts(answers(alone, greedy)) != together


# Out of memory


@pytest.fixture
def exhausted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Memory runs out where a prefix is read, as often as this list has entries."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    failures: list[str] = []
    original = Qwen2VLForConditionalGeneration.forward

    @functools.wraps(original)  # its parameters are looked at
    def forward(model: Any, *arguments: Any, **keywords: Any) -> Any:
        if failures and keywords.get("pixel_values") is not None:
            raise torch.OutOfMemoryError(failures.pop())
        return original(model, *arguments, **keywords)

    monkeypatch.setattr(Qwen2VLForConditionalGeneration, "forward", forward)
    return failures


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_memory_that_runs_out_while_a_prefix_is_read_loses_nothing(
    checkpoint: Path, images: list[ImageFile], exhausted: list[str], failures: int
) -> None:
    requests = [ask(images[i : i + 2], f"Number {i}?") for i in range(4) for _ in range(2)]
    bare = OneByOne(checkpoint)
    expected = [bare.answer(request) for request in requests]
    adapter = TransformersAdapter(str(checkpoint), batch_size=8)
    exhausted.extend(["CUDA out of memory"] * failures)
    outcomes = answers(adapter, requests)
    assert texts(outcomes) == expected
    assert not exhausted
    assert sum(getattr(outcome, "cached_tokens", 0) == 0 for outcome in outcomes) == 4


def test_prefixes_that_a_batch_does_not_need_are_the_first_to_go(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    import torch

    old, new = (
        [ask([image], f"{i}?") for i, image in enumerate(images[k : k + 4])] for k in (0, 4)
    )
    expected = texts(answers(adapter, [*old, *new]))
    store = adapter._chat._reuse._store
    assert len(store._entries) == 8
    generate.calls.clear()

    def exhaust(batch_size: int) -> None:
        if len(store._entries) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    generate.before = exhaust
    outcomes = answers(adapter, new)
    assert texts(outcomes) == expected[4:]
    assert generate.batch_sizes == [4, 4]
    assert all(outcome.cached_tokens for outcome in outcomes if isinstance(outcome, Answer))
