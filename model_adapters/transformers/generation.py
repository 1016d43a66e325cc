"""From requests to answers with a loaded model: prepare, pad into a batch, generate, decode.

`ChatModel` is plain, blocking code. Its `prepare` may run in any number of threads, its `generate`
in one at a time; `TransformersAdapter` sees to that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migbench.messages import Answer, Generation, ModelError, Request

if TYPE_CHECKING:
    from torch import Tensor

    from model_adapters.transformers.loading import LoadedModel

__all__ = ["ChatModel", "Prompt"]

TOKEN_MASKS = ("attention_mask", "mm_token_type_ids", "token_type_ids")
"""What a processor gives for each token besides its id; 0 means that nothing stands there."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the model takes it: tokens and pixels, in main memory, for a batch of one."""

    inputs: dict[str, Tensor]

    @property
    def length(self) -> int:
        """How many tokens it has, those of images included."""
        return int(self.inputs["input_ids"].shape[1])


class ChatModel:
    """Asks one loaded model."""

    def __init__(self, loaded: LoadedModel, *, add_vision_id: bool = False) -> None:
        self._model: Any = loaded.model
        self._processor = loaded.processor
        self._end_ids = loaded.end_ids
        self._pad_id = loaded.pad_id
        self._template_settings = {"add_vision_id": True} if add_vision_id else {}
        self._stopped = threading.Event()
        self._splits_reported: set[int] = set()

    def prepare(self, request: Request) -> Prompt:
        """Decode and resize the images and tokenize the chat, parts in the order of the request.

        Raises `ModelError` when an image cannot be decoded or the processor refuses the request.
        """
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "image": part.open()}
            for part in request.parts
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system is not None:
            system = [{"type": "text", "text": request.system}]
            messages.insert(0, {"role": "system", "content": system})
        try:
            inputs = self._processor.apply_chat_template(
                messages,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                **self._template_settings,
            )
        except ValueError as error:  # for instance an image 200 times as wide as it is high
            names = ", ".join(image.name for image in request.images)
            raise ModelError(
                f"the model's processor refuses the request: {error} ({names})"
            ) from error
        return Prompt(dict(inputs))

    def generate(
        self, prompts: Sequence[Prompt], generation: Generation
    ) -> list[Answer | ModelError]:
        """Answer all ``prompts`` in one batch; each gets an answer or the reason for having none.

        A batch that fails, for want of memory or for one bad request in it, is split in halves
        until the requests that can be answered are.
        """
        if self._stopped.is_set():
            return _stopped(prompts)
        try:
            return self._generate_batch(prompts, generation)
        except Exception as error:
            # Kept as text: the exception's traceback would hold on to the batch's tensors.
            out_of_memory = _is_out_of_memory(error)
            failure = f"{type(error).__name__}: {error}"
        _release_cached_memory()
        if len(prompts) == 1:
            return [ModelError(_does_not_fit(prompts[0]) if out_of_memory else failure)]
        self._report_split(len(prompts), "out of memory" if out_of_memory else failure)
        middle = len(prompts) // 2
        return [
            *self.generate(prompts[:middle], generation),
            *self.generate(prompts[middle:], generation),
        ]

    def stop(self) -> None:
        """Make a running `generate` give up at its next token. Safe to call from any thread."""
        self._stopped.set()

    def release(self) -> None:
        """Let go of the model and its memory; nothing can be generated afterwards."""
        self._model = None
        _release_cached_memory()

    def _generate_batch(
        self, prompts: Sequence[Prompt], generation: Generation
    ) -> list[Answer | ModelError]:
        # The place to reuse the prefix that the prompts of one image set share.
        import torch

        started = time.perf_counter()
        inputs = self._batch(prompts)
        torch.manual_seed(generation.seed)
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                **_decoding(generation),
                stopping_criteria=[self._stop_requested],
            )
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        if self._stopped.is_set():
            return _stopped(prompts)
        seconds = time.perf_counter() - started
        return [
            self._answer(prompt, row, seconds) for prompt, row in zip(prompts, rows, strict=True)
        ]

    def _batch(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """One batch on the model's device: token rows padded on the left, images one after another.

        That is how the Qwen2-VL family batches images, and every other whose images have a first
        dimension to join along; a batch of a family where it fails ends up one by one.
        """
        import torch

        fill = {"input_ids": self._pad_id, **dict.fromkeys(TOKEN_MASKS, 0)}
        width = max(prompt.length for prompt in prompts)
        names = dict.fromkeys(name for prompt in prompts for name in prompt.inputs)
        batch = {}
        for name in names:
            tensors = [prompt.inputs[name] for prompt in prompts if name in prompt.inputs]
            if name in fill:
                tensors = [
                    torch.nn.functional.pad(row, (width - row.shape[1], 0), value=fill[name])
                    for row in tensors
                ]
            joined = torch.cat(tensors)
            dtype = self._model.dtype if joined.is_floating_point() else joined.dtype
            batch[name] = joined.to(self._model.device, dtype)
        return batch

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
        text = self._processor.tokenizer.decode(
            row[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return Answer(
            text=text,
            truncated=length is None,
            prompt_tokens=prompt.length,
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


def _decoding(generation: Generation) -> dict[str, object]:
    """The keywords of transformers' ``generate``; end and padding tokens are set in the model."""
    settings: dict[str, object] = {
        "max_new_tokens": generation.max_new_tokens,
        "num_beams": generation.num_beams,
        "do_sample": generation.temperature > 0,
    }
    if generation.temperature > 0:
        # Unsaid, top_k would be 50; 0 keeps all tokens.
        settings |= {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    return settings


def _stopped(prompts: Sequence[Prompt]) -> list[Answer | ModelError]:
    return [ModelError("the model was stopped") for _ in prompts]


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU's allocator and cuBLAS have no exception of their own.
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in str(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)
    )


def _release_cached_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _does_not_fit(prompt: Prompt) -> str:
    return (
        f"out of memory on a single request of {prompt.length} tokens: lower max_pixels, or choose "
        "dtype=bfloat16 or a device with more memory"
    )
