"""Telling lmms-eval's failures from answers."""

from __future__ import annotations

FAILURE = "[LMMS_EVAL_"
"""What lmms-eval's models for servers begin a text with that stands in for a missing answer."""


def failure(text: str) -> str | None:
    """The text, where it is one of lmms-eval's failures and no answer."""
    return text if text.lstrip().startswith(FAILURE) else None
