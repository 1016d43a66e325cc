"""The findings: what the statistics mean, in words, and the option to set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from migbench.checks.doctor.answers import VERBOSE_WORDS, AnswerFormat
from migbench.checks.doctor.bias import Bias
from migbench.checks.doctor.conventions import flags
from migbench.checks.doctor.image_order import ImageOrder
from migbench.checks.doctor.ranking import (
    NEGLIGIBLE,
    Gap,
    RankedConvention,
    Ranking,
    helps,
    hurts,
)
from migbench.checks.doctor.scenes import Kind
from migbench.dialects import PromptSet, Reason
from migbench.models.resolving import Model
from migbench.scoring import Outcome

FEW = 0.1
"""Up to this share of answers, a way of failing is worth a note only."""
USUAL = 0.5
"""A habit is worth a note from this share of answers on."""


class Severity(StrEnum):
    """What a finding means for a run that starts now."""

    GOOD = "good"
    """As declared."""
    NOTE = "note"
    """Worth knowing; a run's numbers are valid."""
    PROBLEM = "problem"
    """A run's numbers would not be valid, or nobody can know."""


class Finding(msgspec.Struct, frozen=True):
    """One thing found. ``flags`` are alternative fixes, best first."""

    severity: Severity
    text: str
    flags: tuple[str, ...] = ()


def is_ok(found: Iterable[Finding]) -> bool:
    """Whether none of the findings is a problem."""
    return all(each.severity is not Severity.PROBLEM for each in found)


def good(text: str) -> Finding:
    """As declared."""
    return Finding(Severity.GOOD, text)


def note(text: str, *fix: str) -> Finding:
    """Worth knowing."""
    return Finding(Severity.NOTE, text, fix)


def problem(text: str, *fix: str) -> Finding:
    """To be fixed before a run."""
    return Finding(Severity.PROBLEM, text, fix)


def findings(
    model: Model,
    prompts: PromptSet,
    answers: AnswerFormat,
    ranking: Ranking | None,
    bias: Bias | None,
    images: ImageOrder | None,
) -> Iterator[Finding]:
    """All findings, in the order in which they are best read."""
    yield from without_box(model, answers)
    if not answers.answered:
        return
    if ranking is None:
        yield problem("Cannot tell which convention the model follows: no answer holds a box.")
    else:

        def fixes(each: RankedConvention) -> tuple[str, ...]:
            return flags(model.dialect, each.convention, answers.used, prompts, answers.samples)

        yield from _conventions(answers, ranking, fixes)
    if bias is not None:
        yield from _correction(bias)
    if images is not None:
        yield from _image_order(images)
    yield from habits(answers)


def without_box(model: Model, answers: AnswerFormat) -> Iterator[Finding]:
    """Questions without an answer, and answers without a box in the declared syntax, by outcome."""
    if missing := answers.n - answers.answered:
        reason = f" The last reason: {answers.last_error}" if answers.last_error else ""
        yield problem(f"{missing} of {answers.n} questions got no answer.{reason}")
    limit = model.generation.max_new_tokens
    whys = {
        Outcome.TRUNCATED: f"were cut off at {limit} tokens before a box was complete.",
        Outcome.REFUSED: "say that there is nothing to find, or that the model cannot.",
        Outcome.UNREADABLE: f"hold no box in the declared syntax ({', '.join(answers.declared)}). "
        f"They hold: {counted(answers.reasons)}.",
        Outcome.MISSING: "hold boxes, but none for the target asked about.",
    }
    for outcome, why in whys.items():
        if count := answers.outcomes.get(outcome, 0):
            found = note if count <= FEW * answers.answered else problem
            fix = [f"--max-new-tokens {2 * limit}"] * (outcome is Outcome.TRUNCATED)
            yield found(f"{count} of {answers.answered} answers {why}", *fix)


def counted(reasons: Mapping[Reason, int]) -> str:
    """What unreadable answers hold, the most frequent first.

    >>> counted({Reason.POINT: 1, Reason.EMPTY: 3})
    '3 empty, 1 a point, not a box'
    """
    counts = sorted(reasons.items(), key=lambda each: -each[1])
    return ", ".join(f"{count} {reason}" for reason, count in counts)


def _conventions(
    answers: AnswerFormat,
    ranking: Ranking,
    fixes: Callable[[RankedConvention], tuple[str, ...]],
) -> Iterator[Finding]:
    best, declared = ranking.best, ranking.of_declared
    if answers.used != answers.declared:
        yield problem(
            f"Boxes are written in another syntax than declared: {', '.join(answers.used)}. What "
            "follows is read in that.",
            *(fixes(declared) if ranking.is_chance or not declared.is_wrong else ()),
        )
    if ranking.is_chance:
        yield problem(
            f"Cannot tell which convention the model follows: under none of {len(ranking.ranked)} "
            f"do its boxes fit better than they may by chance (best: {_said(best)}; p = "
            f"{ranking.p:.2g}). It may not be able to find things in images, or be shown none."
        )
        return
    yield _declared_convention(ranking, fixes)
    if best.hits < 100 * USUAL:
        yield note(
            f"The model finds few of these things in any case: {best.hits:.0f} % at an IoU of 0.5. "
            "They are drawn, and it may know photographs only."
        )


def _declared_convention(
    ranking: Ranking, fixes: Callable[[RankedConvention], tuple[str, ...]]
) -> Finding:
    best, declared, gap = ranking.best, ranking.of_declared, ranking.of_declared.gap
    if gap and declared.is_wrong:
        tied = "".join(f", or {each.name}" for each in ranking.tied)
        # Of the tied ones, the first that a known dialect has.
        ways = [fixes(each) for each in (best, *ranking.tied)]
        return problem(
            f"The declared convention is wrong: answers fit {_said(best)}{tied} better than the "
            f"declared {_said(declared)}, by {_gap(gap)}.",
            *next((way for way in ways if "custom" not in way[0]), ways[0]),
        )
    if gap and declared.seems_wrong:
        return problem(
            f"Cannot tell whether the declared convention is right: {_said(declared)}. Answers fit "
            f"{_said(best)} better, by {_gap(gap)}, which may be chance. Ask about more scenes."
        )
    if gap and declared.is_worse:
        why = "too little to matter"
        if declared.better_along and gap.mean >= NEGLIGIBLE:
            why = f"but worse along {declared.better_along}: an axis is off, not the convention"
        return good(
            f"The declared convention fits: {_said(declared)}. {best.name} fits better by "
            f"{_gap(gap)}, {why}."
        )
    if ranking.tied:
        alike = [each.name for each in (best, *ranking.tied) if each is not declared]
        return note(
            f"The declared convention fits, {_said(declared)}, but these answers cannot tell "
            f"it from {' or '.join(alike)}, which fit{'s' * (len(alike) == 1)} as well."
        )
    runner_up, ahead = ranking.next, ""
    if runner_up and runner_up.gap:
        ahead = f", ahead of {runner_up.name} by {_gap(runner_up.gap)}"
    return good(f"The declared convention fits best: {_said(declared)}{ahead}.")


def _correction(bias: Bias) -> Iterator[Finding]:
    """The profile's correction, and what is off without it or in spite of it."""
    if bias.declared:
        gain = bias.declared_gain
        is_harmful = hurts(gain)
        effect = "makes no difference here"
        if gain and (helps(gain) or is_harmful):
            effect = f"{'hurts' if is_harmful else 'helps'}, by {_gap(gain)}"
        text = f"The profile's correction ({bias.declared}) {effect}."
        yield problem(text, "--corrections none") if is_harmful else note(text)
    if helps(bias.x):
        yield note(
            f"x is off systematically{_worth(bias.x)}. No correction of x can be declared; "
            "look for a frame or a padding that the convention does not know."
        )
    if not helps(bias.y) or helps(bias.declared_gain):
        return
    text = f"y is off systematically{_worth(bias.y)}."
    if not helps(bias.scaling_gain):
        yield note(f"{text} No scaling of y, which could be declared, fixes it.")
        return
    found = bias.scaling
    yield note(
        f"{text} The correction that fits is {found}{_worth(bias.scaling_gain)}. It was found on "
        "drawn scenes: before a profile declares it, there should be a reason for it in the model.",
        f"corrections: {{y1: {found.y1:g}, y2: {found.y2:g}, max: {found.max:g}, "
        f"digits: {found.digits}}}",
    )


_ABOUT = {
    Kind.NAMED: "Asked for a named thing, the model localises it in",
    Kind.NUMBERED: "Asked for the thing in an image by number, the model localises that of",
}


def _image_order(images: ImageOrder) -> Iterator[Finding]:
    for each in images.counts:
        count = each.right + each.other
        says = f"{_ABOUT[each.kind]} the right image {each.right} times out of {count}"
        if each.is_unclear:
            yield note(
                f"{says}; {each.neither} of {each.n} answers lie at no image's thing, too many to "
                "tell whether it knows which image is which."
            )
        elif each.is_mixed:
            pattern = f" Its boxes are {each.pattern}." if each.pattern else ""
            yield problem(
                f"{says}: images are mixed up.{pattern} Either the model does not know which image "
                "is which, or it is not shown all of them in their order."
            )
        else:
            yield good(f"{says}.")


def habits(answers: AnswerFormat) -> Iterator[Finding]:
    """What most answers do beside giving a box."""
    if answers.verbose > USUAL * answers.answered:
        yield note(
            f"{answers.verbose} of {answers.answered} answers are verbose (more than "
            f"{VERBOSE_WORDS} words beside the box), which costs time."
        )
    if answers.extra_boxes > FEW * answers.answered:
        yield note(
            f"{answers.extra_boxes} of {answers.answered} answers hold more boxes than asked "
            "for; the one labelled with the asked image counts, else the first."
        )


def _said(each: RankedConvention) -> str:
    return f"{each.name} (mean IoU {each.mean_iou:.3f}, {each.hits:.0f} % at 0.5)"


def _gap(gap: Gap) -> str:
    return f"{gap.mean:.3f} of mean IoU [{gap.low:.3f}, {gap.high:.3f}]"


def _worth(gain: Gap | None) -> str:
    return f", which is worth {_gap(gain)}" if gain else ""
