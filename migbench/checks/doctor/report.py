"""What the doctor found, as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from migbench.checks.doctor.answers import Speech
from migbench.checks.doctor.bias import Bias, Estimate
from migbench.checks.doctor.conventions import described
from migbench.checks.doctor.examine import Diagnosis
from migbench.checks.doctor.finished import Plausibility
from migbench.checks.doctor.fits import Fits
from migbench.checks.doctor.identity import Identity
from migbench.checks.doctor.plausibility import Numerals
from migbench.checks.doctor.verdict import Finding, Severity
from migbench.scoring import Interval, Outcome
from migbench.util.escaping import visible
from migbench.util.plain_table import plain_table

SHOWN = 5
"""Conventions in the table, besides the declared one and all that fit as well as the best."""
WIDTH = 100
EXAMPLE = 90
"""Characters of an answer that are shown."""

SIGNS = {Severity.GOOD: "ok", Severity.NOTE: "note", Severity.PROBLEM: "PROBLEM"}


def diagnosis_report(diagnosis: Diagnosis) -> str:
    """The whole report, its verdict last."""
    model = diagnosis.model
    parts = [
        f"{visible(model.name)}, dialect {visible(model.dialect.name)}: {diagnosis.questions} "
        f"questions about {diagnosis.image_sets} rendered image sets",
        _speech(diagnosis.speech),
    ]
    if diagnosis.conventions:
        parts.append(_conventions(diagnosis.conventions))
    if diagnosis.bias:
        parts.append(_bias(diagnosis.bias))
    if diagnosis.images:
        parts.append(_images(diagnosis.images))
    return "\n\n".join([*parts, _verdict(diagnosis.findings)])


def plausibility_report(plausibility: Plausibility) -> str:
    """What a run's answers look like, its verdict last."""
    model = plausibility.model
    parts = [
        f"{visible(str(plausibility.run))}: {visible(model.name)}, "
        f"dialect {visible(model.dialect.name)} "
        f"({described(model.dialect.convention)}); its answers, without ground truth",
        _speech(plausibility.speech),
    ]
    if plausibility.numbers:
        parts.append(_numbers(plausibility.numbers))
    return "\n\n".join([*parts, _verdict(plausibility.findings)])


def _speech(speech: Speech) -> str:
    missing = {outcome: speech.outcomes.get(outcome, 0) for outcome in Outcome}
    counts = [
        f"{speech.boxes} with a box",
        f"{missing[Outcome.REFUSED]} refused",
        f"{missing[Outcome.TRUNCATED]} truncated",
        f"{missing[Outcome.UNREADABLE]} unreadable{_reasons(speech)}",
        *[f"{missing[Outcome.MISSING]} without a box for the target"]
        * bool(missing[Outcome.MISSING]),
        f"{missing[Outcome.MODEL_ERROR]} without an answer",
    ]
    lines = [f"Targets: {speech.n}, of which {', '.join(counts)}"]
    if speech.readable is not None:
        lines.append(f"Readable: {_percent(speech.readable, speech.interval)}")
    syntaxes = [f"{syntax} {count}" for syntax, count in speech.syntaxes.items() if count]
    declared = ", ".join(speech.declared)
    lines.append(f"Syntax: declared {declared}; answers with {', '.join(syntaxes) or 'none'}")
    lines.append(f"Chatter: {speech.chatter} answers; more boxes than asked: {speech.extra_boxes}")
    lines += [f"  e.g. {_example(text)}" for text in speech.examples]
    return "\n".join(lines)


def _reasons(speech: Speech) -> str:
    counts = sorted(speech.reasons.items(), key=lambda each: -each[1])
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts)})" * bool(counts)


def _example(text: str) -> str:
    """The beginning of an answer, on one line and without control characters."""
    cut = text if len(text) <= EXAMPLE else text[:EXAMPLE] + "…"
    return repr(visible(cut, keep="\n\t"))


def _conventions(fits: Fits) -> str:
    keep = max(SHOWN, 1 + len(fits.rivals))
    rows = []
    for place, fit in enumerate(fits.fits):
        is_declared = fit.convention == fits.declared
        if place >= keep and not is_declared:
            continue
        behind = fit.behind
        rows.append(
            [
                fit.name + " (declared)" * is_declared,
                f"{fit.mean_iou:.3f}",
                _percent(fit.hits, fit.interval),
                f"{behind.mean:.3f} [{behind.low:.3f}, {behind.high:.3f}]" if behind else "–",
            ]
        )
    header = ["Convention", "Mean IoU", "IoU ≥ 0.5", "Behind the best"]
    align = ["left", "right", "right", "right"]
    table = plain_table(rows, header, align=align)
    return (
        f"{table}\n{len(fits.fits)} conventions were tried on {fits.n} answers. As good by chance: "
        f"p = {fits.p:.2g}."
    )


def _bias(bias: Bias) -> str:
    rows = [
        [
            edge.edge,
            _estimate(edge.shift, ".1f"),
            _estimate(edge.scale, ".3f"),
            f"{edge.offset:.1f}",
            _estimate(edge.factor, ".3f"),
        ]
        for edge in bias.edges
    ]
    header = ["Edge", "Shift, %", "Scale", "Offset, %", "Factor"]
    align = ["left", "right", "right", "right", "right"]
    table = plain_table(rows, header, align=align)
    return (
        f"{table}\nFrom {bias.n} images shown alone. Shift: median of answered less true; answered "
        "= offset + scale × true;\nfactor: what the answer must be multiplied by. All with 95 % "
        "intervals."
    )


def _images(images: Identity) -> str:
    rows = [
        [
            f"{each.kind} ({each.n})",
            str(each.right),
            str(each.other),
            str(each.nowhere),
            "–" if each.share is None else _percent(each.share, each.interval),
        ]
        for each in images.placed
    ]
    header = ["Several images, target", "asked image", "another", "neither", "right"]
    align = ["left", "right", "right", "right", "right"]
    table = plain_table(rows, header, align=align)
    named = ""
    if images.named:
        named = (
            f"\n{images.named} answers name an image in words, {images.named_right} the right one."
        )
    return table + named


def _numbers(numbers: Numerals) -> str:
    lines = [
        f"Boxes: {numbers.n}; largest number {numbers.largest:g}; no number above 1 in "
        f"{numbers.decimals:.1f} %; most frequent box in {numbers.same:.1f} %"
    ]
    if numbers.beyond is not None and numbers.corner is not None:
        lines.append(
            f"Beyond the frame: {numbers.beyond:.1f} %; in the fullest corner: "
            f"{numbers.corner:.1f} %"
        )
    if numbers.upright:
        shares = ", ".join(f"{order} {share:.1f} %" for order, share in numbers.upright.items())
        lines.append(f"Upright and inside, read as: {shares}")
    if numbers.growth:
        lines.append(
            f"Growth with the image's side: {_estimate(numbers.growth, '.2f')} "
            "(1 for pixels, 0 for relative numbers)"
        )
    return "\n".join(lines)


def _verdict(findings: Sequence[Finding]) -> str:
    return "\n".join(["Verdict", *(line for each in findings for line in _finding(each))])


def _finding(finding: Finding) -> Iterator[str]:
    yield from textwrap.wrap(
        visible(f"{SIGNS[finding.severity]}: {finding.text}"),
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    for place, flag in enumerate(finding.flags):
        yield f"    {'set:' if place == 0 else ' or:'} {visible(flag)}"


def _percent(value: float, interval: Interval | None) -> str:
    limits = f" [{interval.low:.0f}, {interval.high:.0f}]" if interval else ""
    return f"{value:.1f} %{limits}"


def _estimate(estimate: Estimate, form: str) -> str:
    value, low, high = (f"{each:{form}}" for each in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
