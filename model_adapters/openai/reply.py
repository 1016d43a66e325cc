"""Reading a chat-completions server's reply: the answer, or what the server says is wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from migbench.messages import Answer, ModelError


class _ContentPart(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Message(msgspec.Struct):
    """The parts of a message that count; ``reasoning_content`` beside them is not the answer."""

    content: str | list[_ContentPart] | None = None
    refusal: str | None = None

    def text(self) -> str | None:
        """The answer in one piece, a refusal where there is one in its place, or None."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type == "text")
        return self.refusal if self.content is None else self.content


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    # Read leniently: an answer is not worth losing for a malformed count.
    usage: Any = None


def read_answer(content: bytes, seconds: float) -> Answer:
    """The answer in the body of a successful reply, which took ``seconds``.

    A reply without text that ran into the token limit (all of it spent on reasoning) is an empty,
    truncated answer. Raises `ModelError` for any other that holds no text, or is not JSON of the
    expected shape.
    """
    try:
        reply = msgspec.json.decode(content, type=_Reply)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"the reply is no chat completion ({error}): {server_message(content)}"
        ) from error
    if not reply.choices:
        raise ModelError(f"the reply holds no choices: {server_message(content)}")
    choice = reply.choices[0]
    truncated = choice.finish_reason == "length"
    text = choice.message.text()
    if text is None and not truncated:
        raise ModelError(f"the reply holds no text (finish_reason: {choice.finish_reason})")
    return Answer(
        text=text or "",
        truncated=truncated,
        prompt_tokens=_count(reply.usage, "prompt_tokens"),
        cached_tokens=_count(_details(reply.usage), "cached_tokens"),
        completion_tokens=_count(reply.usage, "completion_tokens"),
        seconds=seconds,
    )


def server_message(content: bytes) -> str:
    """The message inside an error's body, on one line and in full.

    Servers write ``{"error": {"message": …}}``, ``{"error": …}``, ``{"message": …}`` or
    ``{"detail": …}``; anything else is taken as it stands.
    """
    message: object
    try:
        message = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        message = content.decode("utf-8", errors="replace")
    for name in ("error", "message", "detail"):
        if isinstance(message, dict) and message.get(name):
            message = message[name]
    return " ".join(str(message).split()) or "(empty)"


def _details(usage: object) -> object:
    """What a prompt's tokens were; vLLM tells with ``--enable-prompt-tokens-details``."""
    return usage.get("prompt_tokens_details") if isinstance(usage, dict) else None


def _count(usage: object, name: str) -> int | None:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None
