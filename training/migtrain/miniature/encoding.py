"""Encoding: a conversation becomes tokens, labels, positions and pixels, as Qwen2-VL takes them.

All of it is numpy, done by worker processes while the model trains. It equals what the published
processor and model compute for the same chat, which the tests hold it to, at a fraction of the
time: pixels travel as bytes (`migtrain.miniature.pixels`), and the positions of M-RoPE are counted
here instead of on the GPU.

Only answers, with the token that ends them, have labels: nothing else is learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migbench.errors import DataError
from migbench.mini.conversations import IMAGE, Conversation, Round
from migtrain.miniature.pixels import Grid, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

UNLABELLED = -100
"""The label of a token that is not learnt, as torch's cross entropy has it."""

Tokens = NDArray[np.int64]


class TargetType(StrEnum):
    """What an attention target is for: which tokens are to attend to which."""

    PICTURE = "picture"
    """An image's token: the number of its picture."""
    KIND = "kind"
    """An object: those of its kind in earlier images."""
    COLOUR = "colour"
    """An object: those of its colour in earlier images."""
    MATCH = "match"
    """An object: those of its kind and colour in earlier images."""
    NAME = "name"
    """A name in a question: what it names."""
    NUMBER = "number"
    """A token of a box: the number of the image or region asked for."""
    REFERENCE = "reference"
    """A token of a box: what tells which object is meant."""
    ANSWER = "answer"
    """A token of a box: its target."""


@dataclass(frozen=True, slots=True)
class AttentionTarget:
    """The tokens at the places ``queries`` are to attend to those at the places ``keys``."""

    type: TargetType
    queries: Tokens
    keys: Tokens


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example for the model. ``positions`` has M-RoPE's three rows: time, height, width.

    ``targets`` are there where a recipe wants attention supervision (see
    `migtrain.miniature.attention_targets`).
    """

    tokens: Tokens
    labels: Tokens
    positions: Tokens
    patches: NDArray[np.uint8]
    grids: tuple[Grid, ...]
    targets: tuple[AttentionTarget, ...] = ()


class TooLongError(ValueError):
    """Not even an example's first round fits into the token limit."""


class Encoder:
    """Encodes conversations for the checkpoint in a folder."""

    def __init__(self, checkpoint: Path, *, max_tokens: int) -> None:
        """Load tokenizer and image settings of a checkpoint.

        Raises `DataError` where they are not Qwen2-VL's.
        """
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self.pixels = Pixels.read(checkpoint)
        self._max_tokens = max_tokens
        self.image_id = self.token_id("<|image_pad|>")
        self.pad_id = self.token_id("<|endoftext|>")

    def encode(self, conversation: Conversation, images: Sequence[Image]) -> Encoded:
        """Tokens and pixels of a conversation and its images.

        Later rounds that do not fit into the token limit are left out. Raises `TooLongError`,
        and ValueError for an image of no usable shape.
        """
        prepared = [self.pixels.patches(image) for image in images]
        grids = [grid for _, grid in prepared]
        tokens: list[int] = []
        labels: list[int] = []
        shown = 0
        for prompt, answer in self._segments(conversation.rounds):
            asked, shown_now = self._with_images(self._tokenise(prompt), grids[shown:])
            answered = self._tokenise(answer)
            if len(tokens) + len(asked) + len(answered) > self._max_tokens:
                if not tokens:
                    raise TooLongError(
                        f"{len(asked) + len(answered)} tokens, more than {self._max_tokens}"
                    )
                break
            tokens += asked + answered
            labels += [UNLABELLED] * len(asked) + answered
            shown += shown_now
        array = np.array(tokens)
        return Encoded(
            tokens=array,
            labels=np.array(labels),
            positions=self._positions(array, grids[:shown]),
            patches=_stacked([patches for patches, _ in prepared[:shown]], self.pixels.patch),
            grids=tuple(grids[:shown]),
        )

    def batch(self, examples: Sequence[Encoded]) -> dict[str, Tensor]:
        """One batch: rows padded on the right, patches one after another and not yet normalised."""
        import torch

        width = max(len(example.tokens) for example in examples)

        def padded(row: Tokens, fill: int) -> Tokens:
            gap = (0, width - row.shape[-1])
            return np.pad(row, [(0, 0)] * (row.ndim - 1) + [gap], constant_values=fill)

        masks = [padded(np.ones_like(example.tokens), 0) for example in examples]
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": np.stack([padded(each.tokens, self.pad_id) for each in examples]),
            "labels": np.stack([padded(example.labels, UNLABELLED) for example in examples]),
            "attention_mask": np.stack(masks),
            "position_ids": np.stack([padded(each.positions, 0) for each in examples], axis=1),
            "patches": np.concatenate([each.patches for each in examples]),
            "image_grid_thw": np.array([(1, *grid) for each in examples for grid in each.grids]),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def token_id(self, token: str) -> int:
        """The number of a token. Raises `DataError` where the tokenizer has none."""
        number = self.tokenizer.convert_tokens_to_ids(token)
        if number is None:
            raise DataError(f"{self.tokenizer.name_or_path}: its tokenizer has no {token}")
        return int(number)

    def _segments(self, rounds: Sequence[Round]) -> Iterator[tuple[str, str]]:
        """What the chat template makes of the rounds: before each answer, and the answer.

        Prompts are cut where a model begins to speak, and tokenized for themselves, as they are
        when a model is asked.
        """
        messages: list[dict[str, Any]] = []
        done = ""
        for each_round in rounds:
            messages.append({"role": "user", "content": _content(each_round.question)})
            opened = self._chat(messages, opened=True)
            messages.append({"role": "assistant", "content": each_round.answer})
            closed = self._chat(messages, opened=False)
            end = f"{each_round.answer}<|im_end|>"
            if not (opened.startswith(done) and closed.startswith(opened + end)):
                raise DataError(
                    "the checkpoint's chat template does not write turns one after another, ended "
                    "by <|im_end|>; only Qwen2-VL's kind of template can be trained"
                )
            yield opened[len(done) :], end
            done = opened + end

    def _chat(self, messages: list[dict[str, Any]], *, opened: bool) -> str:
        chat: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=opened
        )
        return chat

    def _tokenise(self, text: str) -> list[int]:
        # The backend's own call never starts threads, which forked workers would not survive.
        ids: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _with_images(self, tokens: Sequence[int], grids: Sequence[Grid]) -> tuple[list[int], int]:
        """The tokens, the one that stands for an image repeated; and how many images that were."""
        expanded: list[int] = []
        shown = 0
        for token in tokens:
            if token == self.image_id:
                expanded += [token] * self.pixels.tokens(grids[shown])
                shown += 1
            else:
                expanded.append(token)
        return expanded, shown

    def _positions(self, tokens: Tokens, grids: Sequence[Grid]) -> Tokens:
        """M-RoPE's positions (Qwen2-VL paper, section 2.1).

        Text counts on in all three rows. An image stands at one time, its tokens at their row and
        column; what follows counts on from the image's longer side.
        """
        positions = np.empty((3, len(tokens)), np.int64)
        at = count = 0
        for grid in grids:
            start = at + int(np.argmax(tokens[at:] == self.image_id))
            positions[:, at:start] = np.arange(count, count + start - at)
            count += start - at
            rows, columns = self.pixels.cells(grid)
            at = start + rows * columns
            positions[0, start:at] = count
            positions[1, start:at] = count + np.repeat(np.arange(rows), columns)
            positions[2, start:at] = count + np.tile(np.arange(columns), rows)
            count += max(rows, columns)
        positions[:, at:] = np.arange(count, count + len(tokens) - at)
        return positions


def _content(text: str) -> list[dict[str, str]]:
    """A message's text, cut at its images, as chat templates take it."""
    content: list[dict[str, str]] = []
    for number, piece in enumerate(text.split(IMAGE)):
        if number:
            content.append({"type": "image"})
        if piece:
            content.append({"type": "text", "text": piece})
    return content


def _stacked(patches: Sequence[NDArray[np.uint8]], side: int) -> NDArray[np.uint8]:
    return np.concatenate([np.empty((0, 3 * side**2), np.uint8), *patches])
