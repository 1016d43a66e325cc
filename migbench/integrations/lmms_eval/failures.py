"""Telling lmms-eval's failures from answers."""

from __future__ import annotations

from migbench.messages.finish_reasons import names_filter

FAILURE = "[LMMS_EVAL_"
"""What lmms-eval's models for servers begin a text with that stands in for a missing answer."""


def failure(text: str) -> str | None:
    """The text, where it is one of lmms-eval's failures and neither an answer nor a refusal."""
    return text if _stands_in(text) and not names_filter(text) else None


def refused_by_filter(text: str) -> bool:
    """Whether the text stands in for an answer that a content filter took away."""
    return _stands_in(text) and names_filter(text)


def _stands_in(text: str) -> bool:
    return text.lstrip().startswith(FAILURE)
