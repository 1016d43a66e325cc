"""Parsing a chat-completions server's reply: the answer, or what the server says is wrong.

Servers fail inside of successful replies too: an error object with status 200, JSON that was cut, a
proxy's page. And they write the same event in many ways. Nothing here trusts the shape of a reply:
an answer is not lost for an odd field beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migbench.messages import Answer, Finish, ModelError, encodable, finish_of
from model_adapters.openai.server_errors import error_in, parsed, server_message

BAD_GATEWAY = 502
"""The status that a reply stands for which is no chat completion at all."""

_TEXT_PARTS = frozenset({"text", "output_text"})
_REASONING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text"})
_REASONING_FIELDS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "reasoning_details",
)

_ONLY_REASONING = (
    "the reply holds no answer: all of its text stands in {field}. Start the server without its "
    "parser for reasoning (vLLM and SGLang: without --reasoning-parser; llama.cpp: "
    "--reasoning-format none), or switch the reasoning off, where the chat template can: "
    "--model-arg 'extra_body={{chat_template_kwargs: {{enable_thinking: false}}}}'"
)
_UNFINISHED = (
    "the reply does not say that the answer is finished (finish_reason: {reason}); where a server "
    "never says so: --model-arg finish_reason_required=false"
)

_LARGEST_COUNT = 2**53
"""Beyond it no count of tokens is one, and JSON does not keep it."""


class ReplyFailed(ModelError):
    """A reply with status 200 that is no answer.

    ``status`` is the one that it stands for; None where it is what the model did, and another
    attempt would be answered alike.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what the server says beside it of the model that gave it."""

    answer: Answer
    model: str | None = None
    system_fingerprint: str | None = None


def read_reply(content: bytes, seconds: float, *, reason_required: bool = True) -> Reply:
    """The answer in the body of a successful reply, which took ``seconds``.

    A reply that ran into the token limit is an answer, empty where all of it was spent on
    reasoning. One that a content filter took away is a refused one. Without ``reason_required`` a
    missing ``finish_reason`` means that the answer is finished. Raises `ReplyFailed`.
    """
    body = _decoded(content)
    if error := error_in(body):
        if error.is_filter:
            return _refused(body, error.message, seconds)
        raise ReplyFailed(f"the reply is an error: {error.message}", error.status or BAD_GATEWAY)
    if not isinstance(body, dict):
        raise ReplyFailed(
            f"the reply is no chat completion: {server_message(content)}", BAD_GATEWAY
        )
    if blocked := _block_reason(body):
        return _refused(body, blocked, seconds)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ReplyFailed(f"the reply holds no choices: {server_message(content)}", BAD_GATEWAY)
    return _read_choice(body, choices[0], seconds, reason_required)


def _read_choice(
    body: Mapping[str, Any], choice: object, seconds: float, reason_required: bool
) -> Reply:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ReplyFailed("the reply is no chat completion: its choice holds no message")
    reason = choice.get("finish_reason")
    finish = finish_of(reason)
    if reason is None and not reason_required:
        finish = Finish.ANSWERED
    said = _Said.of(message)
    if finish is Finish.REFUSED or said.refusal or (not said.text and _is_filtered(choice)):
        return _refused(body, said.refusal or said.text or "", seconds)
    if finish is Finish.BROKEN_OFF:
        raise ReplyFailed(f"the server broke the answer off (finish_reason: {reason})", 503)
    if finish is Finish.UNKNOWN and reason in (None, ""):
        raise ReplyFailed(_UNFINISHED.format(reason=reason))
    if finish is Finish.UNKNOWN:
        raise ReplyFailed(f"the model gave no finished answer (finish_reason: {reason})")
    truncated = finish is Finish.TRUNCATED
    if not truncated and not (said.text or "").strip() and said.reasoning_field:
        raise ReplyFailed(_ONLY_REASONING.format(field=said.reasoning_field))
    if not truncated and said.text is None:
        raise ReplyFailed(f"the reply holds no text (finish_reason: {reason})")
    return _reply(body, said.text or "", seconds, truncated=truncated)


def _refused(body: object, text: str, seconds: float) -> Reply:
    return _reply(body if isinstance(body, dict) else {}, text, seconds, refused=True)


def _reply(
    body: Mapping[str, Any],
    text: str,
    seconds: float,
    *,
    truncated: bool = False,
    refused: bool = False,
) -> Reply:
    usage = body.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    answer = Answer(
        text=encodable(text),
        truncated=truncated,
        prompt_tokens=_count(usage, "prompt_tokens"),
        # vLLM tells with --enable-prompt-tokens-details.
        cached_tokens=_count(details, "cached_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        seconds=seconds,
        refused=refused,
    )
    return Reply(answer, _word(body.get("model")), _word(body.get("system_fingerprint")))


@dataclass(frozen=True, slots=True)
class _Said:
    """The parts of a message that count. ``text`` is None where there is none, not even empty."""

    text: str | None
    refusal: str
    reasoning_field: str

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> _Said:
        content, refusal = message.get("content"), message.get("refusal")
        field = next((name for name in _REASONING_FIELDS if message.get(name)), "")
        refusal = refusal if isinstance(refusal, str) else ""
        if content is None or isinstance(content, str):
            return cls(content, refusal, field)
        if not isinstance(content, list):
            kind = type(content).__name__
            raise ReplyFailed(f"the reply is no chat completion: its content is a {kind}")
        texts: list[str] = []
        for kind, text in map(_part, content):
            if kind in _TEXT_PARTS:
                texts.append(text)
            elif kind == "refusal":
                refusal += text
            elif kind in _REASONING_PARTS:
                field = field or f"a content part of type {kind}"
            else:
                raise ReplyFailed(
                    f"the reply's content has a part of type {kind!r}, which is no text"
                )
        return cls("".join(texts) if texts else None, refusal, field)


def _part(part: object) -> tuple[str, str]:
    """A content part's type, and its text where it is one that has."""
    if not isinstance(part, dict):
        return type(part).__name__, ""
    kind = str(part.get("type", "text"))
    text = part.get("refusal" if kind == "refusal" else "text")
    if kind in _TEXT_PARTS and not isinstance(text, str):
        raise ReplyFailed("the reply's content has a part of type text without a text")
    return kind, text if isinstance(text, str) else ""


def _is_filtered(choice: Mapping[str, Any]) -> bool:
    """Whether Azure's verdicts on a choice say that one of its filters was applied."""
    results = choice.get("content_filter_results")
    verdicts = results.values() if isinstance(results, dict) else ()
    return any(isinstance(one, dict) and one.get("filtered") is True for one in verdicts)


def _block_reason(body: Mapping[str, Any]) -> str:
    """Why Gemini gave no candidates at all; empty where it does not say so."""
    for name in ("promptFeedback", "prompt_feedback"):
        feedback = body.get(name)
        if isinstance(feedback, dict):
            reason = feedback.get("blockReason") or feedback.get("block_reason")
            if reason:
                return f"the prompt was blocked ({reason})"
    return ""


def _decoded(content: bytes) -> object:
    try:
        return parsed(content)
    except (ValueError, RecursionError) as error:
        message = f"the reply is no chat completion ({error}): {server_message(content)}"
        raise ReplyFailed(message, BAD_GATEWAY) from error


def _word(value: object) -> str | None:
    return encodable(value)[:200] if isinstance(value, str) and value else None


def _count(usage: object, name: str) -> int | None:
    """A number of tokens, where it is one: whole, and not negative."""
    count = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 <= count < _LARGEST_COUNT else None
