"""The verdict: what was found, in plain words, and the flag to set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from migbench.boxes import Convention
from migbench.checks.doctor.answers import CHATTER_WORDS, Speech
from migbench.checks.doctor.bias import Bias, Effect
from migbench.checks.doctor.conventions import flags
from migbench.checks.doctor.fits import NEGLIGIBLE, Fit, Fits, Gap
from migbench.checks.doctor.identity import Identity
from migbench.checks.doctor.scenes import Kind
from migbench.dialects import PromptSet, Reason
from migbench.models.resolving import Model
from migbench.scoring import Outcome


class Severity(StrEnum):
    """What a finding means for a run that starts now."""

    GOOD = "good"
    """As declared."""
    NOTE = "note"
    """Worth knowing; a run's numbers mean what they say."""
    PROBLEM = "problem"
    """A run's numbers would not mean what they say, or nobody can know."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found. ``flags`` are alternatives, any of which mends it; best first."""

    severity: Severity
    text: str
    flags: tuple[str, ...] = ()


FEW = 0.1
"""Up to this share of answers, a way of failing is worth a note only."""
USUAL = 0.5
"""A habit is worth a note from this share of answers on."""


def findings(
    model: Model,
    prompts: PromptSet,
    speech: Speech,
    fits: Fits | None,
    bias: Bias | None,
    images: Identity | None,
    *,
    errors: Sequence[str] = (),
) -> Iterator[Finding]:
    """All findings, in the order in which they are best read."""
    yield from unanswered(speech, errors)
    if not speech.answered:
        return
    yield from unread(model, speech)
    yield from _convention(model, prompts, speech, fits)
    yield from _correction(bias)
    yield from _images(images)
    yield from habits(speech)


def unanswered(speech: Speech, errors: Sequence[str]) -> Iterator[Finding]:
    """Questions without an answer; ``errors`` are the reasons."""
    if missing := speech.n - speech.answered:
        reason = f" The last reason: {errors[-1]}" if errors else ""
        yield _problem(f"{missing} of {speech.n} questions got no answer.{reason}")


def unread(model: Model, speech: Speech) -> Iterator[Finding]:
    """Answers without a box in the declared syntax, by what became of them."""
    limit = model.generation.max_new_tokens
    whys = {
        Outcome.TRUNCATED: f"were cut off at {limit} tokens before a box was complete.",
        Outcome.REFUSED: "say that there is nothing to find, or that the model cannot.",
        Outcome.UNREADABLE: f"hold no box in the declared syntax ({', '.join(speech.declared)}).",
        Outcome.MISSING: "hold boxes, but none for the target asked about.",
    }
    for outcome, why in whys.items():
        count = speech.outcomes.get(outcome, 0)
        if count:
            severity = _severity(count, speech)
            more = (f"--max-new-tokens {2 * limit}",) if outcome is Outcome.TRUNCATED else ()
            if outcome is Outcome.UNREADABLE:
                why += f" {told(speech.reasons)}"
            yield Finding(
                severity=severity, text=f"{count} of {speech.answered} answers {why}", flags=more
            )


def told(reasons: Mapping[Reason, int]) -> str:
    """What unreadable answers hold, most of them first.

    >>> told({Reason.POINT: 1, Reason.EMPTY: 3})
    'They hold: 3 empty, 1 a point, not a box.'
    """
    counts = sorted(reasons.items(), key=lambda each: -each[1])
    return f"They hold: {', '.join(f'{count} {reason}' for reason, count in counts)}."


def _severity(count: int, speech: Speech) -> Severity:
    return Severity.NOTE if count <= FEW * speech.answered else Severity.PROBLEM


def _convention(
    model: Model, prompts: PromptSet, speech: Speech, fits: Fits | None
) -> Iterator[Finding]:
    if fits is None:
        yield _problem("Cannot tell which convention the model follows: no answer holds a box.")
        return
    best, declared = fits.best, fits.of_declared
    if speech.used != speech.declared:
        is_right = fits.is_chance or not declared.matters
        yield _problem(
            f"Boxes are written in another syntax than declared: {', '.join(speech.used)}. What "
            "follows is read in that.",
            *(_flags(model, declared.convention, prompts, speech) if is_right else ()),
        )
    if fits.is_chance:
        yield _problem(
            f"Cannot tell which convention the model follows: under none of {len(fits.fits)} do "
            f"its boxes fit better than they may by chance (best: {_said(best)}; p = "
            f"{fits.p:.2g}). It may not be able to find things in images, or be shown none."
        )
        return
    if declared.matters:
        assert declared.behind is not None
        others = "".join(f", or {rival.name}" for rival in fits.rivals)
        yield _problem(
            f"The declared convention is wrong: answers fit {_said(best)}{others} better than the "
            f"declared {_said(declared)}, by {_gap(declared.behind)}.",
            *_advice(model, prompts, speech, [best, *fits.rivals]),
        )
    elif declared.seems_wrong:
        assert declared.behind is not None
        yield _problem(
            f"Cannot tell whether the declared convention is right: {_said(declared)}. Answers fit "
            f"{_said(best)} better, by {_gap(declared.behind)}, which may be chance. Ask about "
            "more scenes."
        )
    elif declared.is_worse:
        assert declared.behind is not None
        axis = declared.better_along
        why = "too little to matter"
        if axis and declared.behind.mean >= NEGLIGIBLE:
            why = f"but worse along {axis}: an axis is off, not the convention"
        yield _good(
            f"The declared convention fits: {_said(declared)}. {best.name} fits better by "
            f"{_gap(declared.behind)}, {why}."
        )
    elif fits.rivals:
        alike = [fit.name for fit in (best, *fits.rivals) if fit is not declared]
        yield Finding(
            severity=Severity.NOTE,
            text=f"The declared convention fits, {_said(declared)}, but these answers cannot tell "
            f"it from {' or '.join(alike)}, which fit{'s' * (len(alike) == 1)} as well.",
        )
    else:
        yield _good(f"The declared convention fits best: {_said(declared)}{_ahead(fits)}.")
    if best.hits < 100 * USUAL:
        yield Finding(
            severity=Severity.NOTE,
            text=f"The model finds few of these things in any case: {best.hits:.0f} % at an IoU of "
            "0.5. They are drawn, and it may know photographs only.",
        )


def _advice(
    model: Model, prompts: PromptSet, speech: Speech, fits: Sequence[Fit]
) -> tuple[str, ...]:
    """Flags for the first of these conventions that a known dialect has, else for the best."""
    found = [_flags(model, fit.convention, prompts, speech) for fit in fits]
    return next((each for each in found if "custom" not in each[0]), found[0])


def _flags(
    model: Model, convention: Convention, prompts: PromptSet, speech: Speech
) -> tuple[str, ...]:
    return flags(model.dialect, convention, speech.used, prompts, speech.samples)


def _ahead(fits: Fits) -> str:
    if fits.next is None or fits.next.behind is None:
        return ""
    return f", ahead of {fits.next.name} by {_gap(fits.next.behind)}"


def _correction(bias: Bias | None) -> Iterator[Finding]:
    """The profile's correction, and what is off without it or in spite of it."""
    if bias is None:
        return
    if bias.declared:
        known = bias.declared
        verdict = "makes no difference here"
        if known.helps or known.hurts:
            assert known.gain is not None
            verdict = f"{'helps' if known.helps else 'hurts'}, by {_gap(known.gain)}"
        yield Finding(
            severity=Severity.PROBLEM if known.hurts else Severity.NOTE,
            text=f"The profile's correction ({known.correction}) {verdict}.",
            flags=("--corrections none",) if known.hurts else (),
        )
    if bias.x.helps:
        yield Finding(
            severity=Severity.NOTE,
            text=f"x is off systematically{_worth(bias.x)}. No correction of x can be declared; "
            "look for a frame or a padding that the convention does not know.",
        )
    if bias.y.helps and not (bias.declared and bias.declared.helps):
        text = f"y is off systematically{_worth(bias.y)}."
        if not bias.fitting.helps:
            yield Finding(
                severity=Severity.NOTE,
                text=f"{text} No scaling of y, which could be declared, mends it.",
            )
            return
        found = bias.fitting.correction
        yield Finding(
            severity=Severity.NOTE,
            text=f"{text} The correction that fits is {found}{_worth(bias.fitting)}. It was found "
            "on drawn scenes: before a profile declares it, there should be a reason for it in the "
            "model.",
            flags=(
                f"corrections: {{y1: {found.y1:g}, y2: {found.y2:g}, max: {found.max:g}, "
                f"digits: {found.digits}}}",
            ),
        )


def _worth(effect: Effect) -> str:
    return f", which is worth {_gap(effect.gain)}" if effect.gain else ""


_ABOUT = {
    Kind.NAMED: "Asked for a named thing, the model looks for it in",
    Kind.NUMBERED: "Asked for the thing in an image by number, the model looks at",
}


def _images(images: Identity | None) -> Iterator[Finding]:
    for placed in images.placed if images else ():
        count = placed.right + placed.other
        says = f"{_ABOUT[placed.kind]} the right image {placed.right} times out of {count}"
        if placed.is_unclear:
            yield Finding(
                severity=Severity.NOTE,
                text=f"{says}; {placed.nowhere} of {placed.n} answers lie at no image's thing, too "
                "many to tell whether it knows which image is which.",
            )
        elif placed.is_mixed:
            pattern = f" Its boxes are {placed.pattern}." if placed.pattern else ""
            yield _problem(
                f"{says}: images are mixed up.{pattern} Either the model does not know which image "
                "is which, or it is not shown all of them in their order."
            )
        else:
            yield _good(f"{says}.")


def habits(speech: Speech) -> Iterator[Finding]:
    """What most answers do beside giving a box."""
    if speech.chatter > USUAL * speech.answered:
        yield Finding(
            severity=Severity.NOTE,
            text=f"{speech.chatter} of {speech.answered} answers chatter (more than "
            f"{CHATTER_WORDS} words beside the box), which costs time.",
        )
    if speech.extra_boxes > FEW * speech.answered:
        yield Finding(
            severity=Severity.NOTE,
            text=f"{speech.extra_boxes} of {speech.answered} answers hold more boxes than asked "
            "for; the one labelled with the asked image counts, else the first.",
        )


def _said(fit: Fit) -> str:
    return f"{fit.name} (mean IoU {fit.mean_iou:.3f}, {fit.hits:.0f} % at 0.5)"


def _gap(gap: Gap) -> str:
    return f"{gap.mean:.3f} of mean IoU [{gap.low:.3f}, {gap.high:.3f}]"


def _problem(text: str, *mend: str) -> Finding:
    return Finding(severity=Severity.PROBLEM, text=text, flags=mend)


def _good(text: str) -> Finding:
    return Finding(severity=Severity.GOOD, text=text)
