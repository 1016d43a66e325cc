"""A new run's first answer, shown as it came and as it was parsed, before all others are asked."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.asking.questions import Question
from migbench.boxes import Box
from migbench.runs.answer_lines import Lines
from migbench.scoring import SampleScore, Scorer
from migbench.util.escaping import visible

_ANSWER = 300
"""Characters of an answer that are shown."""
_BEYOND = 1.05
"""An edge that lies further out is no rounding."""


def first_answer(scorer: Scorer, question: Question, lines: Lines) -> Iterator[str]:
    """The question, its answer, and what was parsed, a line each; nothing about the truth."""
    yield f"first question {question.id}, about {', '.join(question.images)}"
    for each in scorer.score([question], lines):
        line = each.line
        if line is None or line.text is None:
            yield f"no answer: {line.error if line else 'it was not asked'}"
        else:
            shown = line.text if len(line.text) <= _ANSWER else f"{line.text[:_ANSWER]}…"
            yield f"answer: {visible(shown, keep='')!r}"
        yield f"parsed by dialect {scorer.dialect.name}: {_parsed(each)}"


def _parsed(sample: SampleScore) -> str:
    prediction = sample.prediction
    if prediction.box is not None:
        number = sample.instance.target_image + 1
        beyond = "" if max(prediction.box) <= _BEYOND else ", beyond it: is the dialect right?"
        return f"a box in image {number}: {box_text(prediction.box)}{beyond}"
    reason = f" ({prediction.reason})" if prediction.reason else ""
    return f"no box: {sample.outcome}{reason}"


def box_text(box: Box) -> str:
    """A box in percent of its image.

    >>> box_text(Box(0.1, 0.2, 0.305, 1.0))
    'x 10.0–30.5 %, y 20.0–100.0 %'
    """
    x1, y1, x2, y2 = (100 * edge for edge in box)
    return f"x {x1:.1f}–{x2:.1f} %, y {y1:.1f}–{y2:.1f} %"
