"""How many examples a law is tried with."""

from __future__ import annotations

from hypothesis import settings


def examples(share: float) -> settings:
    """``share`` times as many as the profile has: few for slow laws, many for quick ones."""
    return settings(max_examples=max(1, round(share * settings.default.max_examples)))
