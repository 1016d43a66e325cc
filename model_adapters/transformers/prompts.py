"""From requests to prompts: decoded, resized, tokenized, and cut where others may go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migbench.messages import ModelError, Request
from model_adapters.structure import refuse_structure, structural_tokens
from model_adapters.transformers.images import SharedImages, stand_in
from model_adapters.transformers.prefixes import Cut, cuts

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["TOKEN_MASKS", "Preparer", "Prompt", "joined", "placed"]

TOKEN_MASKS = ("attention_mask", "mm_token_type_ids", "token_type_ids")
"""What a processor gives for each token besides its id; 0 means that nothing stands there."""


@dataclass(eq=False, slots=True)
class Prompt:
    """A request as the model takes it, in main memory, for a batch of one.

    ``rows`` have an entry for each token. ``images`` are the tensors of each image, or of all in
    one where the family does not tell them apart; prompts that show the same image share them.
    ``cached_tokens`` are those that were never computed for this prompt, only for an earlier one;
    it is None until the model has read the prompt.
    """

    rows: dict[str, Tensor]
    images: Sequence[dict[str, Tensor]] = ()
    cuts: tuple[Cut, ...] = ()
    cached_tokens: int | None = None

    @property
    def length(self) -> int:
        """How many tokens it has, those of images included."""
        return int(self.rows["input_ids"].shape[1])

    @property
    def prefix_length(self) -> int:
        """How many tokens it has up to its last image; 0 where it cannot be cut there."""
        return self.cuts[-1].length if self.cuts else 0

    @property
    def inputs(self) -> dict[str, Tensor]:
        """All that a model is told of it."""
        return self.rows | joined(self.images)

    def count_cached(self, tokens: int) -> None:
        """Note that the model has read it, and had the first ``tokens`` tokens from a cache.

        A prompt that is read again, since its batch failed, keeps what the first time has cost.
        """
        if self.cached_tokens is None or tokens < self.cached_tokens:
            self.cached_tokens = tokens


def joined(images: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several images, one after another."""
    import torch

    return {name: torch.cat([image[name] for image in images]) for name in (images or [{}])[0]}


def placed(tensors: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The tensors on the model's device, numbers that are not whole in its precision."""
    return {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in tensors.items()
    }


class Preparer:
    """Makes prompts with a checkpoint's processor, in any number of threads.

    ``template`` are settings of the chat template.
    """

    def __init__(self, processor: Any, *, image_cache_bytes: int, template: dict[str, Any]) -> None:
        self._images = SharedImages(processor.image_processor, most_bytes=image_cache_bytes)
        processor.image_processor = self._images
        self._processor = processor
        self._image_token: int | None = getattr(processor, "image_token_id", None)
        self._structure = structural_tokens(processor.tokenizer, processor.chat_template, processor)
        self._template = template

    def prepare(self, request: Request) -> Prompt:
        """Decode and resize the images and tokenize the chat, parts in the order of the request.

        Raises `ModelError` when an image cannot be decoded, the text holds a structural token, or
        the processor refuses the request.
        """
        refuse_structure(request, self._structure)
        shown = [stand_in(image) for image in request.images]
        inputs = self._process(request, shown)
        rows = {name: inputs.pop(name) for name in ("input_ids", *TOKEN_MASKS) if name in inputs}
        pieces = self._images.pieces(shown)
        images: list[dict[str, Tensor]] = [inputs] if inputs else []
        if pieces is not None and all(inputs.keys() <= piece.keys() for piece in pieces):
            images = [{name: piece[name] for name in inputs} for piece in pieces]
        return Prompt(rows, images, self._cuts(rows["input_ids"], request, len(images)))

    def _process(self, request: Request, shown: Sequence[Image]) -> dict[str, Tensor]:
        images = iter(shown)
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image", "image": next(images)}
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
                **self._template,
            )
        except ValueError as error:  # for instance an image 200 times as wide as it is high
            names = ", ".join(image.name for image in request.images)
            raise ModelError(
                f"the model's processor refuses the request: {error} ({names})"
            ) from error
        return dict(inputs)

    def _cuts(self, tokens: Tensor, request: Request, tensors: int) -> tuple[Cut, ...]:
        """Behind each image, if each has tensors of its own; else behind the last, or nowhere."""
        if self._image_token is None:
            return ()
        digests = [image.digest() for image in request.images]
        places = cuts(tokens[0].tolist(), self._image_token, digests)
        return places if tensors == len(places) else places[-1:] if tensors == 1 else ()
