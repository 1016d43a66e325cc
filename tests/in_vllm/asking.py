"""Asking several adapters the same, and saying where their answers part."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from migbench.data.images import locate_data
from migbench.dialects import PromptSet, ask
from migbench.messages import Adapter, Answer, Generation, Request
from migbench.models.resolving import Overrides, resolve_model
from migbench.runs.plan import DEFAULT_PROMPTS, make_plan, strategy_of
from model_adapters.transformers.adapter import TransformersAdapter


@dataclass(frozen=True)
class Asked:
    """A turn of a question, and what an adapter said."""

    name: str
    request: Request
    answer: Answer


def ask_all(adapter: Adapter, requests: Sequence[Request], loop: asyncio.Runner) -> list[Answer]:
    """The answers to requests that are under way at the same time."""

    async def together() -> list[Answer]:
        return await asyncio.gather(*map(adapter.answer, requests))

    return loop.run(together())


def ask_benchmark(
    adapter: Adapter,
    checkpoint: Path,
    data: Path,
    loop: asyncio.Runner,
    *,
    evaluator: str = "polling",
    strategy: str = "direct",
    tasks: Sequence[str] = (),
    limit: int | None = None,
    max_new_tokens: int = 32,
) -> list[Asked]:
    """Every turn of the benchmark's questions in one form, all questions under way at once."""
    plan = make_plan(
        resolve_model(str(checkpoint), Overrides()),
        locate_data(data),
        evaluator=evaluator,
        strategy=strategy,
        tasks=tasks,
        limit=limit,
    )
    generation = Generation(max_new_tokens=max_new_tokens)
    dialect, prompts = plan.settings.model.dialect, PromptSet(DEFAULT_PROMPTS[strategy])

    async def converse(question: Any) -> list[Asked]:
        turns = strategy_of(plan.settings)(question)
        turn, asked = next(turns), []
        while True:
            images = [plan.data.image(name) for name in question.images]
            request = ask(dialect, turn, images, prompts=prompts, generation=generation)
            answer = await adapter.answer(request)
            asked.append(Asked(f"{question.id} turn {len(asked)}", request, answer))
            try:
                turn = turns.send(answer.text)
            except StopIteration:
                return asked

    async def all_questions() -> list[list[Asked]]:
        return await asyncio.gather(*map(converse, plan.questions))

    return [asked for conversation in loop.run(all_questions()) for asked in conversation]


def parting(reference: TransformersAdapter, request: Request, said: str, other: str) -> str:
    """Where ``other`` parts from what the reference ``said``: the token, and how near the tie.

    For a tokenizer of bytes and special tokens, whose texts have one tokenization.
    """
    chat: Any = reference._chat
    tokenizer = chat._tokenizer
    ours, theirs = (tokenizer(text)["input_ids"] for text in (said, other))
    end = tokenizer.eos_token_id
    place = next(i for i, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
    first = (*ours, end)[place], (*theirs, end)[place]
    inputs = dict(chat.prepare(request).inputs)
    common = torch.tensor([ours[:place]], dtype=torch.long)
    for name, fill in (("input_ids", common), ("attention_mask", torch.ones_like(common))):
        inputs[name] = torch.cat([inputs[name], fill], dim=1)
    if "mm_token_type_ids" in inputs:
        shown = inputs["mm_token_type_ids"]
        inputs["mm_token_type_ids"] = torch.cat([shown, torch.zeros_like(common)], dim=1)
    with torch.inference_mode():
        scores = chat._model(**inputs).logits[0, -1].log_softmax(dim=-1)
    tokens = " or ".join(f"{tokenizer.decode([t])!r} ({scores[t].item():.4f})" for t in first)
    return f"at token {place}, after {said[:40]!r}…: {tokens}, by transformers' log probabilities"
