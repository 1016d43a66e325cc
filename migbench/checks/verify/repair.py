"""Mending a damaged run folder: every whole answer is kept, the rest set aside in a file.

Whole is a line whose link vouches for its content, or that is an answer without a link from before
there were links. Line ends that a transfer has changed, byte order marks and a last line without
its end are mended. What is kept is linked anew, which changes no link where nothing is missing.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

import msgspec

from migbench.runs.answer_lines import decode_line
from migbench.runs.answers_file import ANSWERS, raw_lines
from migbench.runs.findings import FindingKind
from migbench.runs.hash_chain import ChainEnd, follows, is_whole
from migbench.runs.locking import lock_run
from migbench.runs.manifest import Manifest, event, read_manifest, write_manifest
from migbench.runs.store import Run
from migbench.runs.stored import stored_findings
from migbench.util.files import replaced
from migbench.util.input_files import BOM
from migbench.util.json_files import INVALID


@dataclass
class Repair:
    """What was done: how many answers were kept, and pieces set aside in ``file``, if any.

    ``gaps`` counts the places where lines are missing, at the end too.
    """

    kept: int = 0
    set_aside: int = 0
    gaps: int = 0
    mended: int = 0
    file: Path | None = None
    end: ChainEnd = field(default_factory=ChainEnd)

    @property
    def lost_nothing(self) -> bool:
        """Whether all that was stored is there again."""
        return not (self.set_aside or self.gaps)


def repair(folder: Path, *, without_lock: bool = False) -> Repair | None:
    """Mend a run's answers; None where there is nothing to mend.

    What was set aside and what is missing stands in the manifest from then on, and under every
    table. Raises `UsageError` where the folder is no run or is being worked on, and `DataError`
    where its manifest is damaged.
    """
    with lock_run(folder, without_lock=without_lock):
        manifest = read_manifest(folder)
        if all(each.kind is not FindingKind.CHANGED for each in stored_findings(folder, manifest)):
            return None
        done = _rewrite(folder, manifest)
        if not done.lost_nothing:
            _set_figures_aside(folder)
        write_manifest(folder, _told(folder, manifest, done), done.end)
        return done


def _rewrite(folder: Path, manifest: Manifest) -> Repair:
    done = Repair()
    path, aside = folder / ANSWERS, _aside(folder / ANSWERS)
    before = ""
    with ExitStack() as files:
        rest: IO[bytes] | None = None
        kept = files.enter_context(files.enter_context(replaced(path)).open("wb"))
        for line in raw_lines(path):
            if not line.strip():
                done.mended += 1
            elif (whole := _whole(line, linked=bool(done.end.link))) is None:
                if rest is None:
                    rest = files.enter_context(files.enter_context(replaced(aside)).open("wb"))
                rest.write(line)
                done.set_aside += 1
            else:
                done.mended += whole != line
                done.gaps += is_whole(whole) is True and not follows(before, whole)
                before = _link_of(whole)
                stored, done.end = done.end.followed_by_stored(whole)
                kept.write(stored)
                done.kept += 1
    done.file = aside if done.set_aside else None
    if manifest.seal and done.kept + done.set_aside < manifest.seal.lines:
        done.gaps = max(done.gaps, 1)
    return done


def _whole(line: bytes, *, linked: bool) -> bytes | None:
    """The line as it was stored, or None where it cannot be known."""
    mended = line.removeprefix(BOM).rstrip(b"\r\n") + b"\n"
    if is_whole(mended) is False or (is_whole(mended) is None and linked):
        return None
    try:
        decode_line(mended)
    except INVALID:
        return None
    return mended


def _link_of(line: bytes) -> str:
    return ChainEnd().after(line).link


def _set_figures_aside(folder: Path) -> None:
    """What was computed from the answers that are gone; the run's command computes it anew."""
    for name in ("scores.json", "instances.parquet", "instances.csv"):
        if (folder / name).exists():
            (folder / name).rename(_aside(folder / name))


def _aside(path: Path) -> Path:
    """A name for what is set aside of a file, which nothing has yet."""
    names = (path.with_name(f"{path.stem}.set-aside-{n}{path.suffix}") for n in count(1))
    return next(name for name in names if not name.exists())


def _told(folder: Path, manifest: Manifest, done: Repair) -> Manifest:
    """The manifest with what was found; the run is incomplete until all is asked again."""
    if done.lost_nothing:
        return manifest
    aside = f", {done.set_aside} damaged lines set aside in {done.file.name}" if done.file else ""
    missing = f", lines missing in {done.gaps} places" if done.gaps else ""
    message = f"repaired: {done.kept} answers kept{aside}{missing}"
    lines = Run(folder).lines.values()
    answered = sum(line.text is not None for line in lines)
    return msgspec.structs.replace(
        manifest,
        status="incomplete" if manifest.status == "complete" else manifest.status,
        answered=answered,
        failed=len(lines) - answered,
        history=[*manifest.history, event(FindingKind.REMARK, message)],
    )
