"""How long to wait before asking a busy server again."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\s*\+?[0-9]+(?:\.[0-9]*)?\s*", re.ASCII)


class Backoff:
    """Waits that double from ``first`` seconds, spread by jitter, and never exceed ``longest``.

    Jitter keeps requests that failed together from coming back together. It is drawn from a
    seeded generator: the waits of a run depend on nothing but the order of its failures.
    """

    def __init__(self, *, first: float, longest: float, seed: int = 0) -> None:
        self._first = first
        self._longest = longest
        self._random = random.Random(seed)

    def seconds(self, attempt: int, retry_after: float = 0.0) -> float:
        """The wait after the failed attempt number ``attempt``, counted from 0.

        ``retry_after`` is what the server asked for, in seconds: the wait is at least as long, as
        far as ``longest`` allows.
        """
        own = self._first * 2.0 ** min(attempt, 100) * self._random.uniform(0.5, 1.0)
        return min(self._longest, retry_after + own)


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float:
    """What a ``Retry-After`` header asks for: seconds or a date (RFC 9110, 10.2.3), else 0.

    What is neither (a negative number, NaN, a date beyond the calendar) asks for nothing. ``now``
    is the present time, by default the clock's.
    """
    if header is None:
        return 0.0
    if _SECONDS.fullmatch(header):
        # Of endless digits, this is infinity, which the longest wait bounds.
        return float(header)
    try:
        date = parsedate_to_datetime(header)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        wish = (date - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        # An absurd year or zone goes beyond what dates can hold.
        return 0.0
    return max(0.0, wish)
