"""What a model says: which numbers it writes, in which syntax, and what else it says.

Numbers are taken from answers by the reader and the protocol that score them, under a dialect that
converts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.settings import Settings
from migbench.runs.store import Lines
from migbench.scoring import Flag, Interval, Outcome
from migbench.scoring.outcomes import Prediction
from migbench.scoring.scored_run import make_scorer
from migbench.scoring.uncertainty import Sums, accuracy_interval

Numbers = tuple[float, float, float, float]

CHATTER_WORDS = 12
"""With more words than these beside its box, an answer chatters; a JSON answer has about four."""
SAMPLES = 20
OTHER_SYNTAX_LEAD = 0.1
"""Another syntax is taken where it reads more answers by this share of all."""

_TAG = re.compile(r"<[^<>]{1,40}>")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Written:
    """One target, and the answer to its question. ``prediction.box`` holds numbers as written."""

    instance: Instance
    line: AnswerLine | None
    prediction: Prediction

    @property
    def numbers(self) -> Numbers | None:
        """The four numbers that scoring would take, in the order in which they stand."""
        return self.prediction.box

    @property
    def text(self) -> str | None:
        """The raw answer; None where there is none, or a content filter took it away."""
        if self.line is None or self.line.answer is None or self.line.answer.refused:
            return None
        return self.line.text


def written(
    settings: Settings,
    questions: Iterable[Question],
    lines: Lines,
    syntax: tuple[str, ...] | None = None,
) -> list[Written]:
    """What was written for every target of the questions, in a ``syntax`` if not the declared."""
    dialect = as_written(settings.model.dialect, syntax)
    scorer = replace(make_scorer(settings, "standard", None, None), dialect=dialect)
    return [Written(*found) for question in questions for found in scorer.predict(question, lines)]


def as_written(dialect: Dialect, syntax: tuple[str, ...] | None = None) -> Dialect:
    """The dialect under which a box is its four numbers as they stand.

    In a ``syntax`` that is not the declared one, with the tags, brackets and keys of all families.
    Boxes of a dialect's further conventions come out as its first would write them.
    """
    spelling = {} if syntax is None else _every_spelling(dialect)
    return with_fields(
        dialect,
        order=Order.XYXY,
        scale=1.0,
        offset=0.0,
        frame=Original(),
        syntax=syntax or dialect.syntax,
        also=tuple(_as_first(dialect, each) for each in dialect.also) if syntax is None else (),
        **spelling,
    )


def _as_first(dialect: Dialect, other: OtherForm) -> OtherForm:
    if "pixels" in (dialect.scale, other.scale):
        return with_fields(other, order=Order.XYXY, scale=1.0, offset=0.0, frame=Original())
    return with_fields(other, scale=float(other.scale) / float(dialect.scale))


def _every_spelling(dialect: Dialect) -> dict[str, Any]:
    known = [dialect, *load_dialects().values()]
    return {
        field: tuple(dict.fromkeys(each for one in known for each in getattr(one, field)))
        for field in ("tags", "brackets", "keys", "corners", "image_fields")
    }


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's answers read. ``n`` is the number of targets, all others count some of them.

    ``readable`` is the share of answers with any box, in percent, and ``interval`` its 95 %
    interval over image clusters; model errors are left out of both. ``syntaxes`` has, for each
    syntax alone, the targets whose answers hold a box in it; ``used`` is the one that numbers are
    taken from.
    """

    n: int
    outcomes: dict[Outcome, int]
    """Those of targets without a box."""
    readable: float | None
    interval: Interval | None
    reasons: dict[Reason, int] = {}
    """What the unreadable answers hold instead of a box."""
    declared: tuple[str, ...]
    syntaxes: dict[Syntax, int]
    used: tuple[str, ...]
    extra_boxes: int
    chatter: int
    """Answers with more than `CHATTER_WORDS` words beside the box."""
    examples: tuple[str, ...]
    """The first answers without a box."""
    samples: tuple[str, ...] = ()
    """The first answers with a box in the syntax that is used."""

    @property
    def boxes(self) -> int:
        """Targets for which a box was read in the declared syntax."""
        return self.n - sum(self.outcomes.values())

    @property
    def answered(self) -> int:
        """Targets whose question has an answer."""
        return self.n - self.outcomes.get(Outcome.MODEL_ERROR, 0)


def listen(found: Sequence[Written], clusters: Sequence[int], dialect: Dialect) -> Speech:
    """How the answers read; ``found`` is read in the dialect's own syntax."""
    reasons: dict[Reason, int] = {}
    for each in found:
        if (reason := each.prediction.reason) is not None:
            reasons[reason] = reasons.get(reason, 0) + 1
    outcomes: dict[Outcome, int] = {}
    for each in found:
        if (outcome := each.prediction.outcome) is not None:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    texts = [each.text for each in found if each.text is not None]
    numbers = [
        number
        for each, number in zip(found, clusters, strict=True)
        if each.prediction.outcome is not Outcome.MODEL_ERROR
    ]
    answered = [each for each in found if each.prediction.outcome is not Outcome.MODEL_ERROR]
    has_box = [each.prediction.outcome in (None, Outcome.MISSING) for each in answered]
    shares = Sums.of(has_box, numbers) if answered else None
    alone = {each: as_written(dialect, (each,)) for each in Syntax}
    syntaxes = {each: sum(holds_box_in(alone[each], text) for text in texts) for each in Syntax}
    declared = as_written(dialect)
    as_declared = sum(holds_box_in(declared, text) for text in texts)
    best = max(syntaxes, key=lambda each: syntaxes[each])
    is_other = syntaxes[best] - as_declared >= max(1.0, OTHER_SYNTAX_LEAD * len(texts))
    used = alone[best] if is_other else declared
    return Speech(
        n=len(found),
        outcomes=outcomes,
        readable=100 * shares.mean if shares else None,
        interval=accuracy_interval(shares) if shares else None,
        reasons=reasons,
        declared=dialect.syntax,
        syntaxes=syntaxes,
        used=used.syntax,
        extra_boxes=sum(Flag.EXTRA_BOXES in each.prediction.flags for each in found),
        chatter=sum(words_beside_box(text, used) > CHATTER_WORDS for text in texts),
        examples=tuple(each.text or "" for each in answered if each.numbers is None)[:3],
        samples=tuple(text for text in texts if holds_box_in(used, text))[:SAMPLES],
    )


def holds_box_in(dialect: Dialect, text: str) -> bool:
    """Whether an answer's final part holds a box that is written in this dialect's way."""
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
