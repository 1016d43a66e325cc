"""Verifying a stored run: that it is what was stored, and that its scores come out again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from migbench.checks.verify.changes import changes_around
from migbench.checks.verify.requests import request_findings
from migbench.data.annotations import inspect_annotations
from migbench.data.images import Images
from migbench.data.versions import CUSTOM
from migbench.errors import DataError, MigbenchError
from migbench.runs.findings import Finding, FindingKind, changed, remark
from migbench.runs.manifest import MOST_BYTES, Manifest, read_manifest
from migbench.runs.ownership import is_own
from migbench.runs.store import Run
from migbench.runs.stored import history_findings, stored_findings
from migbench.scoring import DEFAULT_PROTOCOL, PROTOCOLS, Bootstrap, Outcome
from migbench.scoring.scored_run import ScoredRun, image_folder, score_run
from migbench.util.json_files import read_json

SCORES = "scores.json"
_SHOWN = 5
"""How many figures are named, of those that do not come out again."""
_LEFT_OUT = ("annotations.path", "annotations.version", "difficulty", "history", "name", "run")
"""What scores hold and is looked at elsewhere, or not at all."""
_COUNTED_OTHERWISE = ("named_images",)
"""What earlier versions counted otherwise: boxes of one answer shared the first name in it."""
_MOST_DRAWS = 1_000_000
"""Resamples above which a bootstrap is not repeated: a file may ask for any number."""


@dataclass(frozen=True)
class Verification:
    """What was found, and the scores that the stored answers have now, where they can be scored."""

    folder: Path
    manifest: Manifest
    findings: list[Finding]
    scored: ScoredRun | None

    @property
    def holds(self) -> bool:
        """Whether it is certain that nothing was changed."""
        kinds = (FindingKind.CHANGED, FindingKind.UNSEALED)
        return all(each.kind not in kinds for each in self.findings)

    @property
    def changed(self) -> bool:
        """Whether something was changed, for certain."""
        return any(each.kind is FindingKind.CHANGED for each in self.findings)

    @property
    def complete(self) -> bool:
        """Whether no answer is wanting."""
        return all(each.kind is not FindingKind.INCOMPLETE for each in self.findings)

    @property
    def unanswered(self) -> list[str]:
        """Instances without an answer."""
        samples = self.scored.samples if self.scored else ()
        return [each.instance.id for each in samples if each.outcome is Outcome.MODEL_ERROR]


class ScoredAs(msgspec.Struct, frozen=True):
    """How the scores in a run folder were made."""

    protocol: str = DEFAULT_PROTOCOL
    corrections: str = ""
    accepted_model_errors: bool = False
    bootstrap: Bootstrap | None = None


def verify(
    folder: Path,
    *,
    annotations: Path | None = None,
    images: Images = None,
    requests: bool = False,
) -> Verification:
    """Hold a run against its links, its seal, its hashes, and its scores.

    ``annotations`` and ``images`` say where these are now, if they were moved. With ``requests``,
    every request is made again and held against its key too, for which all images are read. Raises
    `UsageError` where the folder is no run, and `DataError` where its manifest is damaged beyond
    reading.
    """
    manifest = read_manifest(folder)
    findings = [
        *history_findings(manifest),
        *stored_findings(folder, manifest),
        *changes_around(manifest),
    ]
    source = annotations or Path(manifest.settings.annotations.path)
    wrong = list(_annotation_findings(source, manifest))
    findings += wrong
    scored = None
    if not wrong:
        try:
            stored = read_scores(folder)
            how = how_scored(folder, stored)
            scored = _scored_again(folder, how, annotations, images)
            findings += _score_findings(folder, stored, scored)
            findings += _unanswered(scored)
            if requests:
                findings += _request_findings(scored, images)
        except MigbenchError as error:
            findings.append(changed("scores", f"the answers cannot be scored: {error}"))
    return Verification(folder, manifest, findings, scored)


def _annotation_findings(path: Path, manifest: Manifest) -> Iterator[Finding]:
    made = manifest.settings.annotations
    try:
        found, _ = inspect_annotations(path)
    except DataError as error:
        yield changed(
            "annotations",
            f"the run's annotation file: {error}; if it was moved, pass --annotations FILE",
        )
        return
    if made.version not in (CUSTOM, found.version):
        yield changed(
            "annotations", f"{path}: is the {found.version} file, and the run says {made.version}"
        )
    elif not found.identity.is_same(made.identity):
        yield changed(
            "annotations",
            f"{path}: is not the annotation file that was answered ({found.identity.short}, was "
            f"{made.version} {made.identity.short})",
        )


def read_scores(folder: Path) -> dict[str, Any] | None:
    """The scores that were stored with the run. Raises `DataError` where they cannot be read."""
    path = folder / SCORES
    if not path.exists():
        return None
    return read_json(path, dict[str, Any], "the scores of a run", MOST_BYTES)


def how_scored(folder: Path, stored: dict[str, Any] | None) -> ScoredAs:
    """How a run's stored scores were made. Raises `DataError` where they do not say it."""
    try:
        how = msgspec.convert(stored or {}, ScoredAs)
    except msgspec.ValidationError as error:
        raise DataError(f"{folder / SCORES}: {error}") from error
    if how.protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise DataError(f"{folder / SCORES}: protocol {how.protocol!r} is none of {known}")
    if how.bootstrap and how.bootstrap.draws > _MOST_DRAWS:
        raise DataError(f"{folder / SCORES}: more than {_MOST_DRAWS:,} resamples are not repeated")
    return how


def _scored_again(
    folder: Path, how: ScoredAs, annotations: Path | None, images: Images
) -> ScoredRun:
    return score_run(
        Run(folder),
        protocol=how.protocol,
        corrections=how.corrections != "none",
        annotations=annotations,
        images=images,
        accept_model_errors=how.accepted_model_errors,
        bootstrap=how.bootstrap,
    )


def _score_findings(
    folder: Path, stored: dict[str, Any] | None, scored: ScoredRun
) -> Iterator[Finding]:
    if stored is None:
        yield remark("scores", f"{folder}: has no {SCORES} to hold the scores against")
        return
    if stored.get("difficulty"):
        yield remark("scores", f"{folder / SCORES}: figures by difficulty were not computed again")
    then, now = stored.get("run"), scored.scores.run
    if then is not None and then != now:
        yield changed(
            "scores",
            f"{folder / SCORES}: was made of run {str(then)[:12]}, and the run is {now[:12]} now",
        )
    differing = list(_differing(stored, msgspec.to_builtins(scored.scores)))
    for name, was, here in differing[:_SHOWN]:
        yield changed(
            "scores", f"{folder / SCORES}: {name} is {_shown(was)}, and comes out as {_shown(here)}"
        )
    if len(differing) > _SHOWN:
        more = len(differing) - _SHOWN
        yield changed("scores", f"{folder / SCORES}: {more} figures more come out differently")


def _differing(
    stored: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """What is stored and comes out differently; what later versions say beside it is left out."""
    for key, then in stored.items():
        name, here = f"{prefix}{key}", now.get(key)
        if name in _LEFT_OUT or key in _COUNTED_OTHERWISE:
            continue
        if isinstance(then, Mapping) and isinstance(here, Mapping):
            yield from _differing(then, here, f"{name}.")
        elif not _same(then, here):
            yield name, then, here


def _shown(figure: Any) -> str:
    return "nothing" if figure is None else str(figure)


def _same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-9, abs_tol=1e-9)
    return bool(then == now)


def _request_findings(scored: ScoredRun, images: Images) -> Iterator[Finding]:
    folder = image_folder(scored.run, images)
    if folder is not None:
        yield from request_findings(scored, folder)
        return
    named, why = scored.run.manifest.images, "is no image folder (any more)"
    if named and not is_own(scored.run.manifest):
        why = "is not read, since the run was not made by you here"
    yield remark("requests", f"{named}: {why}; pass --images FOLDER")


def _unanswered(scored: ScoredRun) -> Iterator[Finding]:
    wanting = scored.scores.model_errors
    if wanting:
        first = next(
            each.instance.id for each in scored.samples if each.outcome is Outcome.MODEL_ERROR
        )
        yield Finding(
            FindingKind.INCOMPLETE,
            "answers",
            f"{wanting} of {len(scored.samples)} targets have no answer, {first} first",
        )
