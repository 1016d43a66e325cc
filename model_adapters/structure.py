"""Texts that a checkpoint's tokenizer takes for the structure of a chat: images, roles, the end.

A question that holds one would be shown an image that is none, or end before its time. What marks
boxes and phrases is special to a tokenizer as well, and belongs into questions; so structure is
what the chat template itself writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from migbench.messages import ModelError, Request

__all__ = ["refuse_structure", "structural_tokens"]


def structural_tokens(tokenizer: Any, template: object, processor: Any = None) -> frozenset[str]:
    """The special tokens that a chat template writes, that end a text, or stand for an image.

    ``tokenizer`` and ``processor`` are transformers'. Of special tokens that are plain characters
    (some checkpoints pad with ``!``) none is meant.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token.content) for token in added if token.special}
    ends = {getattr(tokenizer, name, None) for name in ("bos_token", "eos_token")}
    written = {token for token in special if token in str(template) or token in ends}
    marks = {getattr(processor, name, None) for name in ("image_token", "video_token")}
    found = {token for token in written | marks if isinstance(token, str)}
    return frozenset(token for token in found if token[:1] in ("<", "["))


def refuse_structure(request: Request, tokens: Iterable[str]) -> None:
    """Raise `ModelError` where the request's text holds one of these tokens."""
    text = request.text("\n") + (request.system or "")
    if found := sorted(token for token in tokens if token in text):
        raise ModelError(
            f"the text holds {', '.join(found)}, which this checkpoint does not take for text: "
            "it stands for an image, a role or the end of a turn"
        )
