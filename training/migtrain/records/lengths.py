"""How many tokens a record has as LLaMA-Factory encodes it for Qwen2-VL.

Its template ``qwen2_vl`` writes a system prompt and the turns as chat; an image is shrunk to
``image_max_pixels`` first, then resized as the checkpoint's image processor does it, and stands as
one token for every 28 x 28 pixels. What is longer than ``cutoff_len`` would be truncated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migbench.boxes import SmartResized
from migbench.errors import DataError
from migbench.mini.conversations import IMAGE, Conversation

IMAGE_MAX_PIXELS = 512 * 512
"""LLaMA-Factory's default in the authors' version, 0.9.1; see ``recipe/stage1.yaml``."""
IMAGE_MIN_PIXELS = 32 * 32
"""LLaMA-Factory's default."""
TOKEN_SIDE = 28
"""Pixels: Qwen2-VL's patches of 14, merged two by two."""
LONGEST_ASPECT, SHORTENED_ASPECT = 200, 180
BYTES_A_TOKEN = 3.6
"""Of English text with Qwen2-VL's tokenizer, boxes among it: the estimate where there is none."""

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
QUESTION = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "{}<|im_end|>\n"
IMAGE_MARKS = ("<|vision_start|>", "<|vision_end|>")
CHAT_MARKS = ("<|im_start|>", "<|im_end|>", *IMAGE_MARKS)


PUBLISHED_BOUNDS = SmartResized(
    factor=TOKEN_SIDE, min_pixels=56 * 56, max_pixels=16384 * TOKEN_SIDE**2
)
"""The image processor's of Qwen2-VL-7B-Instruct."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where no tokenizer is at hand."""
    marks = sum(text.count(mark) for mark in CHAT_MARKS)
    for mark in CHAT_MARKS:
        text = text.replace(mark, "")
    return marks + round(len(text.encode()) / BYTES_A_TOKEN)


@dataclass(frozen=True, slots=True)
class LengthCounter:
    """Counts tokens. ``processor`` holds the pixel bounds of the checkpoint's image processor.

    The default bounds are Qwen2-VL-7B-Instruct's. ``exact`` says that ``count_text`` is the
    checkpoint's tokenizer and no estimate.
    """

    count_text: Callable[[str], int] = estimated_tokens
    processor: SmartResized = PUBLISHED_BOUNDS
    image_max_pixels: int = IMAGE_MAX_PIXELS
    exact: bool = False

    @classmethod
    def of_checkpoint(cls, checkpoint: str, image_max_pixels: int) -> LengthCounter:
        """By a checkpoint's own tokenizer and image bounds; a folder or a hub id.

        Raises `DataError` where they cannot be had.
        """
        from transformers import AutoTokenizer
        from transformers.utils.hub import cached_file

        try:
            tokenizer = AutoTokenizer.from_pretrained(checkpoint)
            path = None
            for name in ("preprocessor_config.json", "processor_config.json"):
                path = path or cached_file(
                    checkpoint, name, _raise_exceptions_for_missing_entries=False
                )
            settings = json.loads(Path(str(path)).read_bytes())
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"{checkpoint}: its tokenizer does not load ({reason})") from error
        settings = settings.get("image_processor", settings)
        size = settings.get("size") or {}
        bounds = SmartResized(
            factor=settings["patch_size"] * settings["merge_size"],
            min_pixels=settings.get("min_pixels") or size["shortest_edge"],
            max_pixels=settings.get("max_pixels") or size["longest_edge"],
        )
        return cls(
            lambda text: len(tokenizer.encode(text, add_special_tokens=False)),
            bounds,
            image_max_pixels,
            exact=True,
        )

    def count(self, conversation: Conversation, sizes: Sequence[tuple[int, int]]) -> int:
        """Tokens of a conversation whose images have these sizes, (width, height) in pixels."""
        tokens = self.count_text(SYSTEM)
        for each in conversation.rounds:
            question = each.question.replace(IMAGE, "".join(IMAGE_MARKS))
            tokens += self.count_text(QUESTION.format(question))
            tokens += self.count_text(ANSWER.format(each.answer))
        return tokens + sum(self.image_tokens(*size) for size in sizes)

    def image_tokens(self, width: int, height: int) -> int:
        """Tokens of one image of this size in pixels, without those before and after it."""
        canvas = self.processor.canvas(*shrunk(width, height, self.image_max_pixels))
        return round(canvas.width * canvas.height) // self.processor.factor**2


ESTIMATED = LengthCounter()
"""Counts without a tokenizer, for the published model."""


def shrunk(width: int, height: int, most: int) -> tuple[int, int]:
    """The size to which LLaMA-Factory brings an image before the checkpoint's image processor.

    >>> shrunk(1024, 768, 262144)
    (591, 443)
    """
    for bound, leaves in ((most, float.__gt__), (IMAGE_MIN_PIXELS, float.__lt__)):
        if leaves(float(width * height), float(bound)):
            factor = math.sqrt(bound / (width * height))
            width, height = int(width * factor), int(height * factor)
    width, height = max(width, TOKEN_SIDE), max(height, TOKEN_SIDE)
    if width / height > LONGEST_ASPECT:
        width = height * SHORTENED_ASPECT
    if height / width > LONGEST_ASPECT:
        height = width * SHORTENED_ASPECT
    return width, height
