"""The doctor's findings and statistics as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from migbench.checks.doctor.answers import AnswerFormat
from migbench.checks.doctor.bias import Bias, Estimate
from migbench.checks.doctor.conventions import described
from migbench.checks.doctor.diagnosis import Diagnosis
from migbench.checks.doctor.findings import Finding, Severity, counted
from migbench.checks.doctor.image_order import ImageOrder
from migbench.checks.doctor.numbers import NumberStatistics
from migbench.checks.doctor.ranking import Ranking
from migbench.checks.doctor.stored_run import StoredRunCheck
from migbench.scoring import Interval, Outcome
from migbench.util.escaping import visible
from migbench.util.plain_table import plain_table

SHOWN = 5
"""Conventions in the table, besides the declared one and all that are tied with the best."""
WIDTH = 100
EXAMPLE = 90
"""Characters of an answer that are shown."""

SIGNS = {Severity.GOOD: "ok", Severity.NOTE: "note", Severity.PROBLEM: "PROBLEM"}


def diagnosis_report(found: Diagnosis) -> str:
    """The whole report, its findings last."""
    model = found.model
    return _joined(
        f"{visible(model.name)}, dialect {visible(model.dialect.name)}: {found.questions} "
        f"questions about {found.image_sets} rendered image sets",
        _format(found.answers),
        _conventions(found.conventions) if found.conventions else None,
        _bias(found.bias) if found.bias else None,
        _images(found.images) if found.images else None,
        _findings(found.findings),
    )


def stored_run_report(found: StoredRunCheck) -> str:
    """The format and numbers of a run's answers, its findings last."""
    dialect = found.model.dialect
    return _joined(
        f"{visible(found.run)}: {visible(found.model.name)}, dialect {visible(dialect.name)} "
        f"({described(dialect.convention)}); its answers, without ground truth",
        _format(found.answers),
        _numbers(found.numbers) if found.numbers else None,
        _findings(found.findings),
    )


def _joined(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part is not None)


def _format(answers: AnswerFormat) -> str:
    missing = {outcome: answers.outcomes.get(outcome, 0) for outcome in Outcome}
    reasons = f" ({counted(answers.reasons)})" if answers.reasons else ""
    counts = [
        f"{answers.boxes} with a box",
        f"{missing[Outcome.REFUSED]} refused",
        f"{missing[Outcome.TRUNCATED]} truncated",
        f"{missing[Outcome.UNREADABLE]} unreadable{reasons}",
        f"{missing[Outcome.MISSING]} without a box for the target",
        f"{missing[Outcome.MODEL_ERROR]} without an answer",
    ]
    if not missing[Outcome.MISSING]:
        del counts[4]
    lines = [f"Targets: {answers.n}, of which {', '.join(counts)}"]
    if answers.readable is not None:
        lines.append(f"Readable: {_percent(answers.readable, answers.interval)}")
    syntaxes = [f"{syntax} {count}" for syntax, count in answers.syntaxes.items() if count]
    declared = ", ".join(answers.declared)
    lines.append(f"Syntax: declared {declared}; answers with {', '.join(syntaxes) or 'none'}")
    lines.append(
        f"Verbose: {answers.verbose} answers; more boxes than asked: {answers.extra_boxes}"
    )
    lines += [f"  e.g. {_example(text)}" for text in answers.examples]
    return "\n".join(lines)


def _example(text: str) -> str:
    """The beginning of an answer, on one line and without control characters."""
    cut = text if len(text) <= EXAMPLE else text[:EXAMPLE] + "…"
    return repr(visible(cut, keep="\n\t"))


def _conventions(ranking: Ranking) -> str:
    keep = max(SHOWN, 1 + len(ranking.tied))
    rows = [
        [
            each.name + " (declared)" * (each.convention == ranking.declared),
            f"{each.mean_iou:.3f}",
            _percent(each.hits, each.interval),
            f"{each.gap.mean:.3f} [{each.gap.low:.3f}, {each.gap.high:.3f}]" if each.gap else "–",
        ]
        for index, each in enumerate(ranking.ranked)
        if index < keep or each.convention == ranking.declared
    ]
    return (
        f"{_table(['Convention', 'Mean IoU', 'IoU ≥ 0.5', 'Gap to the best'], rows)}\n"
        f"{len(ranking.ranked)} conventions were tried on {ranking.n} answers. As good by chance: "
        f"p = {ranking.p:.2g}."
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
    return (
        f"{_table(['Edge', 'Shift, %', 'Scale', 'Offset, %', 'Factor'], rows)}\n"
        f"From {bias.n} images shown alone. Shift: median of answered less true; answered "
        "= offset + scale × true;\nfactor: what the answer must be multiplied by. All with 95 % "
        "intervals."
    )


def _images(images: ImageOrder) -> str:
    rows = [
        [
            f"{each.kind} ({each.n})",
            str(each.right),
            str(each.other),
            str(each.neither),
            "–" if each.share is None else _percent(each.share, each.interval),
        ]
        for each in images.counts
    ]
    named = (
        f"\n{images.named} answers name an image in words, {images.named_right} the right one."
        if images.named
        else ""
    )
    header = ["Several images, target", "asked image", "another", "neither", "right"]
    return _table(header, rows) + named


def _numbers(numbers: NumberStatistics) -> str:
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
    if numbers.elasticity:
        lines.append(
            f"Growth with the image's side: {_estimate(numbers.elasticity, '.2f')} "
            "(1 for pixels, 0 for relative numbers)"
        )
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return plain_table(rows, header, align=["left"] + ["right"] * (len(header) - 1))


def _findings(found: Sequence[Finding]) -> str:
    return "\n".join(["Findings", *(line for each in found for line in _finding(each))])


def _finding(finding: Finding) -> Iterator[str]:
    yield from textwrap.wrap(
        visible(f"{SIGNS[finding.severity]}: {finding.text}"),
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    for index, flag in enumerate(finding.flags):
        yield f"    {'set:' if index == 0 else ' or:'} {visible(flag)}"


def _percent(value: float, interval: Interval | None) -> str:
    limits = f" [{interval.low:.0f}, {interval.high:.0f}]" if interval else ""
    return f"{value:.1f} %{limits}"


def _estimate(estimate: Estimate, form: str) -> str:
    value, low, high = (f"{each:{form}}" for each in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
