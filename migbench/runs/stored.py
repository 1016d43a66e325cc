"""Holding a run folder against its links and its seal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from migbench.runs.answer_lines import decode_line
from migbench.runs.answers_file import ANSWERS, raw_lines
from migbench.runs.findings import Finding, changed, remark, unsealed
from migbench.runs.hash_chain import ChainReport, Seal, inspect, manifest_digest
from migbench.runs.manifest import MANIFEST, MOST_BYTES, Manifest
from migbench.util.input_files import read_bytes
from migbench.util.json_files import INVALID

BLANK = "blank lines"
"""What a finding about blank lines is about: a run goes on, since no answer is touched."""

_SHOWN = 5
"""How many lines are named, of those with the same trouble."""


def stored_findings(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """What was changed in a run folder since it was stored; line by line, nothing is kept."""
    seal = manifest.seal
    if seal and manifest_digest(read_bytes(folder / MANIFEST, MOST_BYTES)) != seal.manifest:
        yield changed("manifest", f"{folder / MANIFEST}: was edited after it was sealed")
    path = folder / ANSWERS
    lines = inspect(raw_lines(path), seal.lines if seal else None)
    yield from _line_ends(path, lines)
    if lines.blank:
        yield changed(
            BLANK,
            f"{path}: {lines.blank} blank lines, as an editor may add; no answer is in them; "
            "`migbench verify --repair` takes them out",
        )
    yield from _named(path, lines.changed, "is not what was stored")
    yield from _named(
        path, lines.displaced, "does not follow what was stored before it: a line is missing or new"
    )
    if lines.torn:
        yield remark("answers", f"{path}: ends in a line that was cut off, which is left out")
    if seal is not None:
        yield from _against_seal(path, lines, seal, manifest.status == "running")
    elif lines.count > lines.unsealed:
        yield changed(
            "manifest", f"{folder / MANIFEST}: has no seal, though its answers have links"
        )
    if lines.unsealed or seal is None:
        yield unsealed(
            "answers",
            f"{path}: {lines.unsealed or lines.count} answers are not sealed: an early version of "
            "migbench has stored them, or their links were taken out; whether they were changed "
            "cannot be told",
        )


def history_findings(manifest: Manifest) -> Iterator[Finding]:
    """What has happened to the run and stands in its manifest."""
    for each in manifest.history:
        yield Finding(each.kind, "history", f"{each.message} ({each.at})")


def _line_ends(path: Path, lines: ChainReport) -> Iterator[Finding]:
    if lines.carriage_returns:
        other = lines.changed or lines.displaced
        yield changed(
            "answers",
            f"{path}: {lines.carriage_returns} lines end in CR LF instead of LF, as some transfers "
            f"make of them{'' if other else '; no answer was changed'}; `migbench verify --repair` "
            "turns them back",
        )


def _against_seal(path: Path, lines: ChainReport, seal: Seal, running: bool) -> Iterator[Finding]:
    more = lines.count - seal.lines
    if more < 0:
        yield changed(
            "answers",
            f"{path}: lines were deleted: it was sealed with {seal.lines}, and has {lines.count}",
        )
    elif seal.lines and lines.at_seal != seal.link:
        yield changed("answers", f"{path}:{seal.lines}: is not the line that was last when sealed")
    if more > 0 and running:
        yield remark(
            "answers",
            f"{path}: {more} lines came after the seal: the run is under way, or was killed",
        )
    elif more > 0:
        yield changed("answers", f"{path}: {more} lines were added after it was sealed")


def _named(path: Path, numbers: Sequence[int], trouble: str) -> Iterator[Finding]:
    shown = numbers[:_SHOWN]
    questions = _questions(path, shown)
    for number in shown:
        yield changed("answers", f"{path}:{number}{questions.get(number, '')}: {trouble}")
    if len(numbers) > _SHOWN:
        yield changed("answers", f"{path}: {len(numbers) - _SHOWN} lines more: {trouble}")


def _questions(path: Path, numbers: Sequence[int]) -> dict[int, str]:
    """In brackets, the questions that these lines answer, as far as they say so."""
    found: dict[int, str] = {}
    if not numbers:
        return found
    for number, line in enumerate(islice(raw_lines(path), max(numbers)), start=1):
        if number in numbers:
            with suppress(*INVALID):
                question = decode_line(line).question
                found[number] = f" ({question})"
    return found
