"""Asking the tiny checkpoint through the transformers adapter, and watching what the model gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from migbench.messages import Answer, Generation, ImageFile, Request
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.transformers.loading import load
from model_adapters.transformers.settings import TransformersSettings

Outcome = Answer | BaseException


class Generate:
    """Stands in front of the model's ``generate``: records its calls, and may make them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import Qwen2VLForConditionalGeneration

        self.calls: list[dict[str, Any]] = []
        self.before: Callable[[int], None] = lambda batch_size: None
        original = Qwen2VLForConditionalGeneration.generate

        def generate(model: Any, **keywords: Any) -> Any:
            self.calls.append(keywords)
            self.before(len(keywords["input_ids"]))
            return original(model, **keywords)

        monkeypatch.setattr(Qwen2VLForConditionalGeneration, "generate", generate)

    @property
    def batch_sizes(self) -> list[int]:
        return [len(call["input_ids"]) for call in self.calls]


class Vision:
    """Stands in front of the vision tower: records what it is shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import Qwen2VLModel

        self.pixels: list[Any] = []
        self.grids: list[list[int]] = []
        original = Qwen2VLModel.get_image_features

        def features(model: Any, pixel_values: Any, image_grid_thw: Any, **keywords: Any) -> Any:
            sizes = image_grid_thw.prod(dim=1).tolist()
            self.pixels.extend(pixel_values.split(sizes))
            self.grids.extend(image_grid_thw.tolist())
            return original(model, pixel_values, image_grid_thw, **keywords)

        monkeypatch.setattr(Qwen2VLModel, "get_image_features", features)


class OneByOne:
    """Answers with the bare library: its own generate, the checkpoint's own processor."""

    def __init__(self, checkpoint: Path) -> None:
        self._loaded = load(TransformersSettings(checkpoint=str(checkpoint)))

    def answer(self, request: Request) -> str:
        import torch

        content: list[dict[str, Any]] = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "image": part.open()}
            for part in request.parts
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system:
            system = [{"type": "text", "text": request.system}]
            messages.insert(0, {"role": "system", "content": system})
        inputs = self._loaded.processor.apply_chat_template(
            messages,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            output = self._loaded.model.generate(
                **inputs, max_new_tokens=request.generation.max_new_tokens, do_sample=False
            )
        row = output[0, inputs["input_ids"].shape[1] :].tolist()
        length = next((i for i, token in enumerate(row) if token in self._loaded.end_ids), None)
        return str(self._loaded.processor.tokenizer.decode(row[:length]))


def ask(images: Sequence[ImageFile], question: str = "Where is it?", **settings: Any) -> Request:
    parts = [part for i, image in enumerate(images, 1) for part in (f"Image-{i}: ", image, "\n")]
    return Request((*parts, question), Generation(**({"max_new_tokens": 12} | settings)))


def answers(adapter: TransformersAdapter, requests: Sequence[Request]) -> list[Outcome]:
    async def all_at_once() -> list[Outcome]:
        calls = (adapter.answer(request) for request in requests)
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(all_at_once())


def texts(outcomes: Sequence[Outcome]) -> list[str]:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome.text for outcome in outcomes if isinstance(outcome, Answer)]
