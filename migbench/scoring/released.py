"""The released protocol: what the evaluator published with the paper scores, quirks included.

It tries six patterns over the whole answer; the first that matches anything wins. A value's size
decides whether it is divided by 1000, and differently for one box and for several, of which only
the first counts. The truth is taken as it stands, defects included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import unread_reason
from migbench.questions import Purpose
from migbench.scoring.answers import AnswerInContext
from migbench.scoring.outcomes import Flag, Outcome, Prediction

# Unbounded repetitions, as published, and linear all the same: what follows a run of digits or
# of spaces never begins with one, and an attempt crosses one further opening bracket at most.
_INT = r"(\d+)"
_FLOAT = r"(\d+\.\d+)"
PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\({_INT},\s*{_INT}\),\s*\({_INT},\s*{_INT}\)",
        rf"\[{_FLOAT},\s*{_FLOAT},\s*{_FLOAT},\s*{_FLOAT}\]",
        rf"\({_FLOAT},{_FLOAT}\),\({_FLOAT},{_FLOAT}\)",
        rf"\({_FLOAT},\s*{_FLOAT},\s*{_FLOAT},\s*{_FLOAT}\)",
        rf"\[{_INT},\s*{_INT},\s*{_INT},\s*{_INT}\]",
        rf"<box>{_INT}\s{_INT}\s{_INT}\s{_INT}</box>",
    )
)
"""In the order in which they are tried."""


def truth(instance: Instance) -> Box:
    """The target's box as annotated."""
    return instance.box


def parse(text: str) -> list[Box]:
    """All boxes of the first pattern that matches; none where nothing does.

    >>> parse("[1.0, 1.0, 1.0, 1.0]")
    [Box(x1=0.001, y1=0.001, x2=0.001, y2=0.001)]
    """
    return [box for box, _ in _found(text)]


def _found(text: str) -> list[tuple[Box, tuple[int, int]]]:
    """The same, each with its start and end in the text."""
    for pattern in PATTERNS:
        matches = [
            ([float(digits) for digits in match.groups()], match.span())
            for match in pattern.finditer(text)
        ]
        if len(matches) == 1:
            ((values, span),) = matches
            return [(Box(*(value / 1000 if value >= 1 else value for value in values)), span)]
        if matches:
            return [
                (Box(*(value / 1000 if value > 1 else value for value in values)), span)
                for values, span in matches
            ]
    return []


def _dropped(answer: AnswerInContext) -> str:
    """Characters that the script drops before it parses: from some families' step 2."""
    is_step_2 = answer.turn.purpose is Purpose.GROUND
    return "-x" if is_step_2 and answer.strategy in answer.dialect.dropped_from_step_2 else ""


def predict(answer: AnswerInContext) -> list[Prediction]:
    """The first box; of an answer that is to give several, which the script has not, in order."""
    text, dropped = answer.text, _dropped(answer)
    kept: Sequence[int] = range(len(text))
    if dropped:
        kept = [place for place in kept if text[place] not in dropped]
        text = "".join(text[place] for place in kept)
    found = _found(text)
    boxes = [box for box, _ in found]
    if not boxes:
        reason = unread_reason(answer.text, truncated=answer.line.truncated)
        return [Prediction(outcome=Outcome(reason.value))] * len(answer.asked)
    flags = (Flag.EXTRA_BOXES,) if len(boxes) > len(answer.asked) else ()
    given = [
        Prediction(
            box=answer.corrected(box, len(boxes)),
            flags=flags,
            span=(kept[start], kept[end - 1] + 1),
        )
        for box, (start, end) in found[: len(answer.asked)]
    ]
    missing = Prediction(outcome=Outcome.MISSING)
    return given + [missing] * (len(answer.asked) - len(given))
