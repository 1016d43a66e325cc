"""Short names for things too long to name."""

from __future__ import annotations

import hashlib


def short_hash(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for these texts in this order."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]
