"""Score a stored run: every target's result, and the scores made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from migbench.data.annotations import Annotations, read_annotations
from migbench.data.images import ImageFolder, Images, folder_of, image_search
from migbench.data.versions import CUSTOM
from migbench.errors import DataError
from migbench.models.corrections import Correction
from migbench.runs.manifest import Manifest
from migbench.runs.ownership import is_own
from migbench.runs.plan import strategy_of
from migbench.runs.run_hash import run_hash
from migbench.runs.selection import questions_of
from migbench.runs.settings import AnnotationSource, Settings
from migbench.runs.store import Run
from migbench.scoring import (
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    Bootstrap,
    DifficultySplit,
    SampleScore,
    Scorer,
    Scores,
    macro_average,
    summarise_levels,
    summarise_tasks,
    with_intervals,
)
from migbench.scoring.coverage import with_available
from migbench.tasks import load_tasks


def known_source(source: AnnotationSource, read: Annotations) -> AnnotationSource:
    """A run's annotation file as it is known now that it was read.

    Runs of earlier versions know only its bytes, and called a copy in other bytes custom.
    """
    version = read.version if source.version == CUSTOM else source.version
    return msgspec.structs.replace(source, content_sha256=read.content_sha256, version=version)


@dataclass(frozen=True)
class ScoredRun:
    """A run with its scores under one protocol, and every target's result.

    Judgements are in the annotation file's order.
    """

    run: Run
    annotations: Annotations
    scores: Scores
    samples: Sequence[SampleScore]


def score_run(
    run: Run,
    *,
    protocol: str = DEFAULT_PROTOCOL,
    corrections: bool = True,
    annotations: Path | None = None,
    images: Images = None,
    accept_model_errors: bool = False,
    difficulty: DifficultySplit | None = None,
    bootstrap: Bootstrap | None = None,
) -> ScoredRun:
    """Score a stored run; no model is needed, and images only for pixel dialects.

    ``annotations`` says where the annotation file is now, if it was moved; its content must be the
    same. With ``accept_model_errors`` targets without an answer count as not hit, else their task
    has no accuracy. With a ``difficulty`` split the scores hold figures by level too. Intervals
    come from formulas, or with a ``bootstrap`` from resampled clusters. Raises `DataError` where
    the annotation file is gone or another one, or not the split's.
    """
    settings = run.settings
    read = annotations_of(run, annotations)
    correction = settings.model.corrections if corrections else None
    scorer = make_scorer(settings, protocol, correction, image_folder(run, images))
    samples = scorer.score(questions_of(settings, read), run.lines)
    order = [spec.key for spec in load_tasks()]
    tasks = summarise_tasks(samples, order, accept_model_errors=accept_model_errors)
    levels = None
    if difficulty:
        difficulty.check(read)
        levels = summarise_levels(samples, difficulty, accept_model_errors=accept_model_errors)
        levels = msgspec.structs.replace(levels, made_from_this=difficulty.is_made_from(run))
    scores = Scores(
        run=run_hash(run),
        model=settings.model.name,
        name=run.manifest.name,
        protocol=protocol,
        corrections=str(correction) if correction else "none",
        annotations=known_source(settings.annotations, read),
        evaluator=settings.evaluator,
        strategy=settings.strategy,
        prompts=settings.prompts,
        accepted_model_errors=accept_model_errors,
        tasks=tasks,
        macro=macro_average(tasks),
        difficulty=levels,
        history=[f"{each.message} ({each.at})" for each in run.manifest.history],
    )
    scores = with_available(scores, read.counts)
    scores = with_intervals(scores, samples, read.cluster_of, difficulty, bootstrap)
    return ScoredRun(run, read, scores, samples)


def make_scorer(
    settings: Settings,
    protocol: str,
    correction: Correction | None,
    images: ImageFolder | None,
) -> Scorer:
    """The scorer of a run under these settings."""
    return Scorer(
        protocol=PROTOCOLS[protocol],
        dialect=settings.model.dialect,
        strategy=strategy_of(settings),
        strategy_name=settings.strategy,
        correction=correction,
        image=images.file if images else None,
    )


def annotations_of(run: Run, moved_to: Path | None = None) -> Annotations:
    """The annotation file that a run was made on, now at ``moved_to``. Raises `DataError`."""
    source = run.settings.annotations
    path = moved_to or Path(source.path)
    if not path.exists():
        raise DataError(f"{path}: the run's annotation file is gone; pass --annotations FILE")
    # A known file has its own scale; a custom one has the scale declared when the run was made.
    scale = source.scale if source.version == CUSTOM else None
    read = read_annotations(path, scale)
    if not read.identity.is_same(source.identity):
        raise DataError(
            f"{path}: is not the file that {run.folder} was made on "
            f"({read.version} {read.identity.short}, not {source.version} "
            f"{source.identity.short}); scores on different annotation files must not be mixed"
        )
    try:
        read.require_usable()
    except DataError as error:
        raise DataError(
            f"{error}\n{run.folder} was made with scale {source.scale:g}; with another scale it is "
            "another run: make or import it again"
        ) from error
    return read


def image_folder(run: Run, images: Images = None) -> ImageFolder | None:
    """A run's images: below ``images``, else where they were when the user made it; None if gone.

    A received run's own word is not taken (`migbench.runs.ownership`).
    """
    search = image_search(images)
    root = search.folder or images_of(run.manifest)
    if root is None or not root.is_dir():
        return None
    beside = Path(run.settings.annotations.path).parent
    return folder_of(replace(search, folder=root), beside)


def images_of(manifest: Manifest) -> Path | None:
    """The image folder that a run of the user's own names; None for a received run's."""
    return Path(manifest.images) if manifest.images and is_own(manifest) else None
