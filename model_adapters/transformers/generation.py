"""From prompts to answers with a loaded model: batch, generate, decode; split what does not fit.

`ChatModel` is plain, blocking code. Its `prepare` may run in any number of threads, its `generate`
in one at a time; `TransformersAdapter` sees to that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from migbench.messages import Answer, Generation, ModelError, Request, describe
from model_adapters.transformers.memory import (
    AUTO_MOST,
    BatchSize,
    fitting,
    free_bytes,
    is_out_of_memory,
    token_bytes,
)
from model_adapters.transformers.prompts import TOKEN_MASKS, Preparer, Prompt, joined, placed
from model_adapters.transformers.reuse import PrefixReuse
from model_adapters.transformers.sampling import decoding
from model_adapters.transformers.settings import TransformersSettings

if TYPE_CHECKING:
    from torch import Tensor

    from model_adapters.transformers.loading import LoadedModel

__all__ = ["ChatModel"]

GIB = 2**30

_log = logging.getLogger(__name__)


class ChatModel:
    """Asks one loaded model."""

    def __init__(self, loaded: LoadedModel, settings: TransformersSettings) -> None:
        self._model: Any = loaded.model
        self._tokenizer = loaded.processor.tokenizer
        self._end_ids = loaded.end_ids
        self._pad_id = loaded.pad_id
        self._preparer = Preparer(
            loaded.processor,
            image_cache_bytes=int(settings.image_cache_gb * GIB),
            template={"add_vision_id": True} if settings.add_vision_id else {},
        )
        if settings.prefix_cache_gb is None:
            prefix_bytes = free_bytes(loaded.model.device) // 4
        else:
            prefix_bytes = int(settings.prefix_cache_gb * GIB)
        self._stopped = threading.Event()
        self._reuse = PrefixReuse(
            loaded.model, pad_id=loaded.pad_id, most_bytes=prefix_bytes, stopped=self._stopped
        )
        is_auto = settings.batch_size == "auto"
        self._size = BatchSize(AUTO_MOST if settings.batch_size == "auto" else settings.batch_size)
        self._token_bytes = token_bytes(loaded.model) if is_auto else 0
        self._splits_reported: set[int] = set()

    @property
    def most(self) -> int:
        """How many requests a batch never exceeds."""
        return self._size.most

    def prepare(self, request: Request) -> Prompt:
        """The request as the model takes it. Raises `ModelError` when it cannot be shown."""
        return self._preparer.prepare(request)

    def fitting(self, prompts: Sequence[Prompt], generation: Generation) -> int:
        """How many of these prompts, of the first ones, to answer in one batch; at least 1."""
        prompts = prompts[: self._size.limit]
        if not self._token_bytes:
            return len(prompts)
        beams = generation.num_beams
        lengths = [beams * (prompt.length + generation.max_new_tokens) for prompt in prompts]
        return fitting(lengths, self._token_bytes, free_bytes(self._model.device))

    def generate(
        self, prompts: Sequence[Prompt], generation: Generation, *, is_half: bool = False
    ) -> list[Answer | ModelError]:
        """Answer all ``prompts`` in one batch; each gets an answer or the reason for having none.

        A batch that runs out of memory is tried again without the prefixes that it does not need.
        One that fails still, for want of memory or for one bad request in it, is split in halves
        until the requests that can be answered are; a half keeps what the other needs, except that
        a single request has all the memory to itself.
        """
        if self._stopped.is_set():
            return _stopped(prompts)
        try:
            answers = self._generate_batch(prompts, generation)
        except Exception as error:
            # Kept as text: the exception's traceback would hold on to the batch's tensors.
            out_of_memory = is_out_of_memory(error)
            failure = describe(error)
        else:
            self._size.went_well(len(prompts))
            return answers
        if self._stopped.is_set():
            return _stopped(prompts)
        may_free = out_of_memory and (not is_half or len(prompts) == 1)
        has_freed = may_free and self._reuse.keep_only(prompts)
        _release_cached_memory()
        if has_freed:
            return self.generate(prompts, generation, is_half=is_half)
        if out_of_memory:
            self._size.ran_out(len(prompts))
        if len(prompts) == 1:
            return [ModelError(_does_not_fit(prompts[0]) if out_of_memory else failure)]
        self._report_split(len(prompts), "out of memory" if out_of_memory else failure)
        middle = len(prompts) // 2
        return [
            *self.generate(prompts[:middle], generation, is_half=True),
            *self.generate(prompts[middle:], generation, is_half=True),
        ]

    def stop(self) -> None:
        """Make a running `generate` give up at its next token. Safe to call from any thread."""
        self._stopped.set()

    def release(self) -> None:
        """Let go of the model and its memory; nothing can be generated afterwards."""
        del self._model, self._reuse
        _release_cached_memory()

    def _generate_batch(
        self, prompts: Sequence[Prompt], generation: Generation
    ) -> list[Answer | ModelError]:
        import torch

        started = time.perf_counter()
        rows: dict[Prompt, list[int]] = {}
        with torch.inference_mode():
            for together, inputs in self._batches(prompts, generation):
                torch.manual_seed(generation.seed)  # for beams, which draw from torch's own state
                output = self._model.generate(
                    **inputs,
                    **decoding(generation, self._model.device),
                    stopping_criteria=[self._stop_requested],
                )
                new = output[:, inputs["input_ids"].shape[1] :].tolist()
                rows.update(zip(together, new, strict=True))
        if self._stopped.is_set():
            return _stopped(prompts)
        seconds = time.perf_counter() - started
        return [self._answer(prompt, rows[prompt], seconds) for prompt in prompts]

    def _batches(
        self, prompts: Sequence[Prompt], generation: Generation
    ) -> Iterator[tuple[Sequence[Prompt], dict[str, Any]]]:
        """Those that go on from prefixes, and those that are read whole; mostly all are one kind.

        Beams are read whole: `generate` does not spread a given cache over them.
        """
        cut = [
            prompt for prompt in prompts if generation.num_beams == 1 and self._reuse.suits(prompt)
        ]
        if cut:
            yield cut, self._reuse.inputs(cut)
        if whole := [prompt for prompt in prompts if prompt not in cut]:
            for prompt in whole:
                prompt.count_cached(0)
            yield whole, placed(self._whole(whole), self._model)

    def _whole(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """One batch of whole prompts: token rows padded on the left, images one after another.

        That is how the Qwen2-VL family batches images, and every other whose images have a first
        dimension to join along; a batch of a family where it fails ends up one by one.
        """
        import torch

        fill = {"input_ids": self._pad_id, **dict.fromkeys(TOKEN_MASKS, 0)}
        width = max(prompt.length for prompt in prompts)
        rows = {
            name: torch.cat(
                [
                    torch.nn.functional.pad(
                        prompt.rows[name], (width - prompt.length, 0), value=fill[name]
                    )
                    for prompt in prompts
                ]
            )
            for name in prompts[0].rows
        }
        return rows | joined([image for prompt in prompts for image in prompt.images])

    def _stop_requested(self, input_ids: Tensor, scores: Tensor, **_: object) -> Tensor:
        import torch

        return torch.full(
            (input_ids.shape[0],), self._stopped.is_set(), dtype=torch.bool, device=input_ids.device
        )

    def _answer(self, prompt: Prompt, row: list[int], seconds: float) -> Answer:
        """Read one row of output: what stands before its first end token.

        Special tokens inside it stay, since boxes and references are marked with them.
        """
        length = next((i for i, token in enumerate(row) if token in self._end_ids), None)
        text = self._tokenizer.decode(
            row[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return Answer(
            text=text,
            truncated=length is None,
            prompt_tokens=prompt.length,
            cached_tokens=prompt.cached_tokens,
            completion_tokens=len(row) if length is None else length + 1,
            seconds=seconds,
        )

    def _report_split(self, size: int, reason: str) -> None:
        if size not in self._splits_reported:
            self._splits_reported.add(size)
            _log.warning(
                "a batch of %d requests failed and was split: %s; batch_size=%d may avoid this",
                size,
                reason,
                size // 2,
            )


def _stopped(prompts: Sequence[Prompt]) -> list[Answer | ModelError]:
    return [ModelError("the model was stopped") for _ in prompts]


def _release_cached_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _does_not_fit(prompt: Prompt) -> str:
    return (
        f"out of memory on a single request of {prompt.length} tokens: lower --max-pixels, or "
        "choose dtype=bfloat16 or a device with more memory"
    )
