"""What a user may have meant by a name that there is none of."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" (did you mean table?)"``, or nothing where no known name is like the given one.

    >>> did_you_mean("Qwen2-vl7b", ["qwen2-vl-7b", "migician"])
    ' (did you mean qwen2-vl-7b?)'
    """
    spelled = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), spelled, n=2)
    return f" (did you mean {' or '.join(spelled[each] for each in found)}?)" if found else ""
