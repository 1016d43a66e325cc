"""The released protocol: what the evaluator published with the paper scores, quirks included.

It tries six patterns over the whole answer; the first that matches anything wins. A value's size
decides whether it is divided by 1000, and differently for one box and for several, of which only
the first counts. The truth is taken as it stands, defects included.
"""

from __future__ import annotations

import re

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
    for pattern in PATTERNS:
        matches = [[float(digits) for digits in found] for found in pattern.findall(text)]
        if len(matches) == 1:
            return [Box(*(value / 1000 if value >= 1 else value for value in matches[0]))]
        if matches:
            return [
                Box(*(value / 1000 if value > 1 else value for value in one)) for one in matches
            ]
    return []


def _as_parsed(answer: AnswerInContext) -> str:
    """The answer as the script parses it: some families' step 2 loses every ``-`` and ``x``."""
    is_step_2 = answer.turn.purpose is Purpose.GROUND
    if is_step_2 and answer.strategy in answer.dialect.dropped_from_step_2:
        return answer.text.replace("-", "").replace("x", "")
    return answer.text


def predict(answer: AnswerInContext) -> list[Prediction]:
    """The first box; of an answer that is to give several, which the script has not, in order."""
    boxes = parse(_as_parsed(answer))
    if not boxes:
        reason = unread_reason(answer.text, truncated=answer.line.truncated)
        return [Prediction(outcome=Outcome(reason.value))] * len(answer.asked)
    flags = (Flag.EXTRA_BOXES,) if len(boxes) > len(answer.asked) else ()
    given = [
        Prediction(box=answer.corrected(box, len(boxes)), flags=flags)
        for box in boxes[: len(answer.asked)]
    ]
    missing = Prediction(outcome=Outcome.MISSING)
    return given + [missing] * (len(answer.asked) - len(given))
