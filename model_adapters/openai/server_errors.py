"""The errors of chat-completions servers: where they stand in a body, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from migbench.messages import encodable, is_filter_code, names_filter


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error in a server's words; ``status`` is the HTTP status that it names, if it does."""

    message: str
    status: int | None = None
    parameter: str = ""
    is_filter: bool = False
    """Whether a content filter was the reason."""


def error_in(body: object) -> ServerError | None:
    """The error that a decoded body holds, wherever servers put it; None where it holds none.

    ``{"error": {"message": …, "code": …}}``, ``{"error": …}``, ``{"object": "error", …}``, the same
    inside a list (Gemini), or inside of the first choice (OpenRouter).
    """
    error = next(_errors(body), None)
    if error is None:
        return None
    if not isinstance(error, dict):
        return ServerError(_one_line(error), is_filter=names_filter(str(error)))
    message = _message_of(error)
    inner = error.get("innererror") or error.get("inner_error")
    codes = [error.get(name) for name in ("code", "type", "status")]
    codes += [inner.get("code")] if isinstance(inner, dict) else []
    metadata = error.get("metadata")
    flagged = isinstance(metadata, dict) and bool(metadata.get("flagged_input"))
    return ServerError(
        message=message,
        status=_status(codes),
        parameter=str(error.get("param") or ""),
        is_filter=flagged or any(map(is_filter_code, codes)) or names_filter(message),
    )


def _errors(body: object) -> Iterator[object]:
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, dict):
        return
    if body.get("error"):
        yield body["error"]
    if body.get("object") == "error":
        yield body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and first.get("error"):
        yield first["error"]


_STATUS_OF_WORD = {
    400: ("invalid_request", "badrequest", "bad_request", "invalid_argument", "validation"),
    401: ("authentication", "unauthorized", "unauthenticated", "invalid_api_key"),
    403: ("permission", "forbidden"),
    404: ("not_found", "notfound"),
    413: ("too_large",),
    422: ("unprocessable",),
    429: ("rate_limit", "ratelimit", "quota", "resource_exhausted", "too_many"),
    503: ("overloaded", "unavailable", "server_error", "internal", "timeout", "api_error"),
}
"""The HTTP status behind the words by which services name the kinds of their errors."""


def _status(codes: list[object]) -> int | None:
    """The HTTP status that the codes name, as a number or in a word that is known."""
    for code in codes:
        is_number = isinstance(code, str) and len(code) == 3 and code.isdecimal()
        number = int(str(code)) if is_number else code
        if isinstance(number, int) and not isinstance(number, bool) and 400 <= number < 600:
            return number
    for code in codes:
        word = code.lower() if isinstance(code, str) else ""
        for status, words in _STATUS_OF_WORD.items():
            if any(known in word for known in words):
                return status
    return None


def server_message(content: bytes) -> str:
    """The message inside an error's body, on one line and in full.

    Servers write ``{"error": {"message": …}}``, ``{"error": …}``, ``{"message": …}`` or
    ``{"detail": …}``; anything else is taken as it stands.
    """
    try:
        message = parsed(content)
    except (ValueError, RecursionError):
        return _one_line(content.decode("utf-8", errors="replace"))
    if isinstance(message, list) and len(message) == 1:
        message = message[0]
    return _message_of(message)


def _message_of(message: object) -> str:
    for name in ("error", "message", "detail"):
        if isinstance(message, dict) and message.get(name):
            message = message[name]
    return _one_line(message)


def _one_line(message: object) -> str:
    try:
        return encodable(" ".join(str(message).split())) or "(empty)"
    except (ValueError, RecursionError):  # a number of endless digits, a list in a list in a list
        return "(not shown: it is too long or too deep)"


def parsed(content: bytes) -> object:
    """What JSON says. Raises `ValueError` or `RecursionError`.

    The second parser lets half a surrogate pair through, which is left of an emoji that was cut.
    """
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return json.loads(content)
