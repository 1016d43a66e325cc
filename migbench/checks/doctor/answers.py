"""The format of a model's answers: their raw numbers, their syntax, and the text around the box.

Numbers are taken from answers by the parser and the protocol that score them, under a dialect that
converts nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec.structs import replace as with_fields

from migbench.asking.questions import Question
from migbench.boxes import Order, Original
from migbench.data.annotations import Instance
from migbench.dialects import Dialect, Reason, load_dialects
from migbench.dialects.dialect import OtherForm
from migbench.dialects.findings import find_boxes
from migbench.dialects.parsing import final_part_of
from migbench.dialects.syntax import Syntax, plain
from migbench.runs.answer_lines import AnswerLine, Lines
from migbench.runs.settings import Settings
from migbench.scoring import Flag, Interval, Outcome
from migbench.scoring.outcomes import Prediction
from migbench.scoring.scored_run import make_scorer
from migbench.scoring.uncertainty import Sums, accuracy_interval

Numbers = tuple[float, float, float, float]

VERBOSE_WORDS = 12
"""With more words than these beside its box, an answer is verbose; a JSON answer has about four."""
SAMPLES = 20
OTHER_SYNTAX_LEAD = 0.1
"""Another syntax is used where it parses more answers by this share of all."""

_TAG = re.compile(r"<[^<>]{1,40}>")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A target, and the answer to its question; ``numbers`` are the box's four as they stand."""

    instance: Instance
    line: AnswerLine | None
    prediction: Prediction
    cluster: int

    @property
    def numbers(self) -> Numbers | None:
        """The four numbers that scoring would take, in the order in which they stand."""
        return self.prediction.box

    @property
    def text(self) -> str | None:
        """The answer's text; None where there is none, or a content filter removed it."""
        answer = self.line.answer if self.line else None
        return answer.text if answer and not answer.refused else None

    @property
    def is_answered(self) -> bool:
        """Whether the question has an answer."""
        return self.prediction.outcome is not Outcome.MODEL_ERROR


class AnswerFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of the answers' format. ``n`` is the number of targets.

    ``outcomes`` counts targets without a box, ``reasons`` what the unreadable answers hold instead
    of one. ``readable`` is the share of answers with any box, in percent, and ``interval`` its 95 %
    interval over image clusters; model errors are left out of both. ``syntaxes`` counts, for each
    syntax alone, targets whose answers hold a box in it; ``used`` is the one that numbers are taken
    from. ``verbose`` counts answers with more than `VERBOSE_WORDS` words beside the box.
    ``examples`` are the first answers without a box, ``samples`` the first with one.
    """

    n: int
    outcomes: dict[Outcome, int]
    readable: float | None
    interval: Interval | None
    reasons: dict[Reason, int] = {}
    declared: tuple[str, ...]
    syntaxes: dict[Syntax, int]
    used: tuple[str, ...]
    extra_boxes: int
    verbose: int
    examples: tuple[str, ...]
    samples: tuple[str, ...] = ()
    last_error: str | None = None

    @property
    def boxes(self) -> int:
        """Targets for which a box was parsed in the declared syntax."""
        return self.n - sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        """Targets whose question has an answer."""
        return self.n - self.outcomes.get(Outcome.MODEL_ERROR, 0)


def parse_answers(
    settings: Settings,
    questions: Sequence[Question],
    lines: Lines,
    cluster_of: Callable[[Instance], int],
) -> tuple[list[RawAnswer], AnswerFormat]:
    """The raw answer for every target, in the syntax that most answers use, and their format."""

    def parsed(syntax: tuple[str, ...] | None = None) -> list[RawAnswer]:
        scorer = replace(
            make_scorer(settings, "standard", None, None), dialect=raw_dialect(dialect, syntax)
        )
        return [
            RawAnswer(*found, cluster_of(found[0]))
            for question in questions
            for found in scorer.predict(question, lines)
        ]

    dialect = settings.model.dialect
    answers = parsed()
    form = answer_format(answers, dialect)
    return (answers if form.used == dialect.syntax else parsed(form.used)), form


def raw_dialect(dialect: Dialect, syntax: tuple[str, ...] | None = None) -> Dialect:
    """The dialect under which a box is its four numbers as they stand.

    In a ``syntax`` that is not the declared one, with the tags, brackets and keys of all families.
    Boxes of a dialect's further conventions come out as its first would write them.
    """
    changes: dict[str, Any] = {"also": tuple(_as_first(dialect, each) for each in dialect.also)}
    if syntax is not None:
        known = [dialect, *load_dialects().values()]
        changes = {
            field: tuple(dict.fromkeys(each for one in known for each in getattr(one, field)))
            for field in ("tags", "brackets", "keys", "corners", "image_fields")
        } | {"syntax": syntax, "also": ()}
    return with_fields(
        dialect, order=Order.XYXY, scale=1.0, offset=0.0, frame=Original(), **changes
    )


def _as_first(dialect: Dialect, other: OtherForm) -> OtherForm:
    if "pixels" in (dialect.scale, other.scale):
        return with_fields(other, order=Order.XYXY, scale=1.0, offset=0.0, frame=Original())
    return with_fields(other, scale=float(other.scale) / float(dialect.scale))


def answer_format(found: Sequence[RawAnswer], dialect: Dialect) -> AnswerFormat:
    """The statistics of answers that were parsed in the dialect's own syntax."""
    answered = [each for each in found if each.is_answered]
    texts = [each.text for each in found if each.text is not None]
    raw = {each: raw_dialect(dialect, (each,)) for each in Syntax}
    syntaxes = {each: sum(holds_box(raw[each], text) for text in texts) for each in Syntax}
    used = raw_dialect(dialect)
    best = max(syntaxes, key=lambda each: syntaxes[each])
    lead = syntaxes[best] - sum(holds_box(used, text) for text in texts)
    if lead >= max(1.0, OTHER_SYNTAX_LEAD * len(texts)):
        used = raw[best]
    readable, interval = percent(
        [each.prediction.outcome in (None, Outcome.MISSING) for each in answered],
        [each.cluster for each in answered],
    )
    predictions = [each.prediction for each in found]
    errors = [each.line.error for each in found if each.line and each.line.error]
    return AnswerFormat(
        n=len(found),
        outcomes=dict(Counter(each.outcome for each in predictions if each.outcome is not None)),
        readable=readable,
        interval=interval,
        reasons=dict(Counter(each.reason for each in predictions if each.reason is not None)),
        declared=dialect.syntax,
        syntaxes=syntaxes,
        used=used.syntax,
        extra_boxes=sum(Flag.EXTRA_BOXES in each.flags for each in predictions),
        verbose=sum(words_beside_box(text, used) > VERBOSE_WORDS for text in texts),
        examples=tuple(each.text or "" for each in answered if each.numbers is None)[:3],
        samples=tuple(text for text in texts if holds_box(used, text))[:SAMPLES],
        last_error=errors[-1] if errors else None,
    )


def percent(holds: Iterable[bool], clusters: Sequence[int]) -> tuple[float | None, Interval | None]:
    """The share of what holds, in percent, and its interval; None, None of nothing."""
    if not clusters:
        return None, None
    sums = Sums.of(list(holds), clusters)
    return 100 * sums.mean, accuracy_interval(sums)


def holds_box(dialect: Dialect, text: str) -> bool:
    """Whether an answer's final part holds a box in this dialect's syntax."""
    final = final_part_of(dialect, text)
    return bool(find_boxes(dialect, plain(text[final.start : final.end])).boxes)


def words_beside_box(text: str, dialect: Dialect) -> int:
    """Words of an answer's final part, without its boxes and tags.

    >>> from migbench.dialects import find_dialect
    >>> text = "It is here: <|box_start|>(1,2),(3,4)<|box_end|>"
    >>> words_beside_box(text, find_dialect("qwen2-vl"))
    3
    """
    final = final_part_of(dialect, text)
    part = plain(text[final.start : final.end])
    bare, position = "", 0
    for box in find_boxes(dialect, part).boxes:
        bare, position = f"{bare}{part[position : box.start]} ", box.end
    return len(_WORD.findall(_TAG.sub(" ", bare + part[position:])))
