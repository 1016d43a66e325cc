"""The main job: plan what to ask, ask it, and score what was answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic

import msgspec

from migbench.adapters import check_settings, start_adapter
from migbench.boundary import closed
from migbench.chunks import Chunked
from migbench.corrections import Correction
from migbench.data.annotations import Annotations, read_annotations
from migbench.data.images import DataLocation, ImageFolder, Images, folder_of, image_search
from migbench.data.versions import CUSTOM
from migbench.dialects import PromptSet
from migbench.environment import new_manifest
from migbench.errors import DataError, MigbenchError, UsageError
from migbench.event_loop import EventLoop
from migbench.input_files import refuse_other_names
from migbench.manifests import Manifest
from migbench.messages import Adapter
from migbench.models import Model, resizing_of_adapter, with_resizing
from migbench.provenance.credentials import refuse_secrets_of
from migbench.provenance.fingerprints import fingerprint_of_checkpoint
from migbench.provenance.identity import run_hash
from migbench.provenance.places import is_own
from migbench.questions import Question, Strategy
from migbench.run_store import Lines, Run, RunStore, Status, open_run
from migbench.runner import Progress, Runner
from migbench.scoring import (
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    Bootstrap,
    DifficultySplit,
    Judge,
    Judgement,
    Level,
    Reached,
    Scores,
    gathered,
    judge,
    macro_average,
    summarise_levels,
    summarise_tasks,
    with_intervals,
)
from migbench.scoring.judging import replay
from migbench.selection import Selection, questions_of
from migbench.settings import AnnotationSource, Settings
from migbench.sharding import Shard
from migbench.strategies import STRATEGIES, find_strategy
from migbench.tasks import load_tasks, select_tasks, task_hashes
from migbench.watchdog import SLOW_AFTER


@dataclass(frozen=True)
class Plan:
    """What a run will ask, before anything is asked."""

    settings: Settings
    annotations: Annotations
    data: DataLocation
    questions: tuple[Question, ...]


def make_plan(
    model: Model,
    data: DataLocation,
    *,
    scale: float | None = None,
    tasks: Iterable[str] = (),
    limit: int | None = None,
    shard: Shard | None = None,
    evaluator: str = "polling",
    strategy: str = "direct",
    prompts: PromptSet | None = None,
) -> Plan:
    """Decide what to ask: all instances of the tasks, or the first ``limit`` of each.

    With a ``shard``, its part of these questions. Unsaid, ``prompts`` are the published script's
    for direct inference, with which Table 1 was made, and the paper's for chains of thought, where
    the script is broken for Qwen2-VL. Raises `DataError` for unusable annotations and `UsageError`
    for unknown task names, where nothing is left to ask, or where a setting holds a secret.
    """
    refuse_secrets_of(model)
    annotations = read_annotations(data.annotations, scale)
    annotations.require_usable()
    hashes = task_hashes()
    chosen = [spec.key for spec in select_tasks(tasks) if annotations.counts[spec.key]]
    settings = Settings(
        model=model,
        evaluator=evaluator,
        strategy=strategy,
        prompts=(prompts or DEFAULT_PROMPTS[strategy]).value,
        annotations=source_of(annotations),
        tasks={key: hashes[key] for key in chosen},
        limit=limit,
        shard=shard,
    )
    questions = tuple(questions_of(settings, annotations))
    if not questions:
        raise UsageError(f"{annotations.path}: has no instances of the tasks asked for")
    return Plan(settings, annotations, data, questions)


def source_of(annotations: Annotations) -> AnnotationSource:
    """How a run refers to its annotation file. Raises `DataError` for a path that is not UTF-8."""
    refuse_other_names(annotations.path)
    return AnnotationSource(
        path=str(annotations.path.resolve()),
        content_sha256=annotations.content_sha256,
        sha256=annotations.sha256,
        version=annotations.version,
        scale=annotations.scale,
    )


def known_source(source: AnnotationSource, read: Annotations) -> AnnotationSource:
    """A run's annotation file as it is known now that it was read.

    Runs of earlier versions know only its bytes, and called a copy in other bytes custom.
    """
    version = read.version if source.version == CUSTOM else source.version
    return msgspec.structs.replace(source, content_sha256=read.content_sha256, version=version)


DEFAULT_PROMPTS = {
    name: PromptSet.RELEASED if name == "direct" else PromptSet.PAPER for name in STRATEGIES
}


def strategy_of(settings: Settings) -> Callable[[Question], Strategy]:
    """The strategy of a run under these settings, with its wordings."""
    return find_strategy(settings.strategy, settings.prompts, settings.model.dialect.name)


def execute(
    plan: Plan,
    out: Path,
    progress: Callable[[RunStore], Progress] = lambda store: Progress(),
    *,
    slow_after: float = SLOW_AFTER,
    accept_changes: bool = False,
    without_lock: bool = False,
) -> Progress:
    """Carry the plan out, or go on with it, in the run folder ``out``.

    The model is started only when the folder is found fit. Interrupted (KeyboardInterrupt goes
    through), the run is marked stopped, and the same call goes on with it later. ``progress`` makes
    the run's progress from its store. Requests that take longer than ``slow_after`` seconds are
    named in the run's log and to its progress. A run that was changed after it was stored goes on
    only with ``accept_changes``, and on a file system without locks only ``without_lock``.
    """
    folder = plan.data.images.root if plan.data.images else None
    manifest = new_manifest(plan.settings, len(plan.questions), images=folder)
    check_settings(plan.settings.model)
    with open_run(out, manifest, accept_changes=accept_changes, without_lock=without_lock) as store:
        status: Status = "stopped"
        started = monotonic()
        try:
            watched = progress(store)
            adapter = start_adapter(plan.settings.model)
            store.know_checkpoint(fingerprint_of_checkpoint(plan.settings.model))
            _know_model(store, adapter, plan.settings.model)
            runner = Runner(
                store=store,
                adapter=adapter,
                strategy=strategy_of(plan.settings),
                image=cache(plan.data.image),
                prompts=PromptSet(plan.settings.prompts),
                progress=watched,
                slow_after=slow_after,
            )
            started = monotonic()  # The model is up: what is timed is the asking.
            with EventLoop() as loop:
                loop.run(runner.run(plan.questions))
            # A failed request may leave an answer to an earlier one, with other images, say.
            is_complete = not watched.failed and all_answered(plan, store.lines)
            status = "complete" if is_complete else "incomplete"
        finally:
            store.finish(status, seconds=monotonic() - started)
    return watched


def all_answered(plan: Plan, lines: Lines) -> bool:
    """Whether every turn of every question has its answer among these lines."""
    strategy = strategy_of(plan.settings)
    return all(
        line is not None and line.text is not None
        for question in plan.questions
        for _, line in replay(strategy(question), question.id, lines)
    )


def _know_model(store: RunStore, adapter: Adapter, declared: Model) -> None:
    """Record in which frame the model's processor shows images, where boxes are in its pixels."""
    try:
        store.know_model(with_resizing(declared, resizing_of_adapter(adapter)))
    except MigbenchError:
        with EventLoop() as loop:
            loop.run(closed(adapter))
        raise


@dataclass(frozen=True)
class ScoredRun:
    """A run with its scores under one protocol, and every target's judgement.

    Judgements are in the annotation file's order, and made when they are asked for: of a run
    longer than a chunk, anew every time.
    """

    run: Run
    annotations: Annotations
    scores: Scores
    judgements: Sequence[Judgement]


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
    judging = make_judge(settings, protocol, correction, image_folder(run, images))
    judgements = _judgements(judging, Selection(settings, read), run)
    order = [spec.key for spec in load_tasks()]
    by_task: dict[str, Reached] = {}
    by_level: dict[Level, Reached] = {}
    passing = gathered(judgements, by_task, read.cluster_of, lambda each: each.instance.task)
    tasks = summarise_tasks(passing, order, accept_model_errors=accept_model_errors)
    levels = None
    if difficulty:
        difficulty.check(read)
        level_of = difficulty.levels
        passing = gathered(
            judgements, by_level, read.cluster_of, lambda each: level_of[each.instance.id]
        )
        levels = summarise_levels(passing, difficulty, accept_model_errors=accept_model_errors)
    scores = Scores(
        run=run_hash(run),
        model=settings.model.name,
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
    scores = with_intervals(scores, by_task, by_level, bootstrap)
    return ScoredRun(run, read, scores, judgements)


def _judgements(judging: Judge, selection: Selection, run: Run) -> Chunked[Judgement]:
    """Every target's judgement, made a chunk at a time."""

    def judged(start: int, stop: int) -> list[Judgement]:
        questions = list(selection.questions(start, stop))
        lines = run.lines_of(question.id for question in questions)
        places = selection.places(start, stop)
        return [each for each in judge(judging, questions, lines) if each.instance.index in places]

    return Chunked(len(selection), judged)


def make_judge(
    settings: Settings,
    protocol: str,
    correction: Correction | None,
    images: ImageFolder | None,
) -> Judge:
    """The judge of a run under these settings."""
    return Judge(
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

    A received run's own word is not taken (`migbench.provenance.places`).
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
