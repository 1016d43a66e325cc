"""Durations as people write and read them."""

from __future__ import annotations

import re

from migbench.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|)(?=\s|\d|$)")


def read_duration(text: str) -> float:
    """The seconds that a text means. Raises `UsageError` for one that is no duration.

    >>> read_duration("90"), read_duration("10m"), read_duration("1h 30min")
    (90.0, 600.0, 5400.0)
    """
    seconds, place = 0.0, 0
    while place < len(text.rstrip()):
        if (part := _PART.match(text, place)) is None:
            raise UsageError(f"{text!r} is no duration: give seconds, or 90s, 10m, 2h, 1h30m")
        seconds += float(part.group(1)) * _UNITS[part.group(2)]
        place = part.end()
    if not place:
        raise UsageError("a duration is expected: seconds, or 90s, 10m, 2h, 1h30m")
    return seconds


def duration_text(seconds: float) -> str:
    """A duration in its two largest units, rounded down.

    >>> [duration_text(seconds) for seconds in (7.9, 95, 600, 12345)]
    ['7 s', '1 min 35 s', '10 min', '3 h 25 min']
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        parts = [f"{hours} h", f"{minutes} min" if minutes else ""]
    elif minutes:
        parts = [f"{minutes} min", f"{rest} s" if rest else ""]
    else:
        parts = [f"{rest} s"]
    return " ".join(part for part in parts if part)
