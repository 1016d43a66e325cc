"""The released protocol: what the evaluator published with the paper scores, quirks included.

It tries six patterns over the whole answer; the first that matches anything wins. A value's size
decides whether it is divided by 1000, and differently for one box and for several, of which only
the first counts. The truth is taken as it stands, defects included.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from migbench.asking.questions import Purpose
from migbench.boxes import Box
from migbench.data.annotations import Instance
from migbench.dialects import explain
from migbench.scoring.outcomes import Flag, Outcome, Prediction
from migbench.scoring.scorer import ScoringContext

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


Span = tuple[int, int]
"""Where in a text a box stands: start and end, in characters."""


def first_matches(text: str) -> list[re.Match[str]]:
    """All matches of the first pattern that matches anything; none where nothing does."""
    for pattern in PATTERNS:
        if matches := list(pattern.finditer(text)):
            return matches
    return []


def _found(text: str) -> list[tuple[Box, Span]]:
    """The boxes, each with its place in the text."""
    matches = first_matches(text)
    divides = operator.ge if len(matches) == 1 else operator.gt
    return [
        (
            Box(*(n / 1000 if divides(n, 1) else n for n in map(float, match.groups()))),
            match.span(),
        )
        for match in matches
    ]


def _dropped(context: ScoringContext) -> str:
    """Characters that the script drops before it parses: from some families' step 2."""
    scorer = context.scorer
    is_step_2 = context.turn.purpose is Purpose.GROUND
    drops = scorer.strategy_name in scorer.dialect.dropped_from_step_2
    return "-x" if is_step_2 and drops else ""


def predict(context: ScoringContext) -> list[Prediction]:
    """The first box; of an answer that is to give several, which the script has not, in order."""
    text, dropped = context.answer.text, _dropped(context)
    kept: Sequence[int] = range(len(text))
    if dropped:
        kept = [place for place in kept if text[place] not in dropped]
        text = "".join(text[place] for place in kept)
    found = [(box, (kept[start], kept[end - 1] + 1)) for box, (start, end) in _found(text)]
    if not found:
        return nothing_given(context)
    return given(context, [(context.corrected(box, len(found)), span) for box, span in found])


def given(context: ScoringContext, found: Sequence[tuple[Box, Span]]) -> list[Prediction]:
    """The boxes of an answer, in their order, as those that it is to give."""
    wanted = len(context.asked)
    flags = (Flag.EXTRA_BOXES,) if len(found) > wanted else ()
    predictions = [Prediction(box=box, flags=flags, span=span) for box, span in found[:wanted]]
    return predictions + [Prediction(outcome=Outcome.MISSING)] * (wanted - len(predictions))


def nothing_given(context: ScoringContext) -> list[Prediction]:
    """What an answer without a box leaves of every one that it is to give."""
    failure, reason = explain(context.answer.text, truncated=context.answer.truncated)
    return [Prediction(outcome=Outcome(failure.value), reason=reason)] * len(context.asked)
