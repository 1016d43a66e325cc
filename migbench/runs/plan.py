"""What a run will ask, before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from migbench.asking.questions import Question, Strategy
from migbench.asking.strategies import STRATEGIES, find_strategy
from migbench.data.annotations import Annotations, Instance, read_annotations
from migbench.data.images import DataLocation
from migbench.dialects import PromptSet
from migbench.errors import UsageError
from migbench.models.credentials import refuse_secrets_of
from migbench.models.resolving import Model
from migbench.runs.selection import questions_of
from migbench.runs.settings import AnnotationSource, Settings
from migbench.runs.sharding import Shard
from migbench.tasks import select_tasks, task_hashes
from migbench.util.input_files import refuse_other_names

DEFAULT_PROMPTS = {
    name: PromptSet.RELEASED if name == "direct" else PromptSet.PAPER for name in STRATEGIES
}


@dataclass(frozen=True)
class Plan:
    """The questions of a run, under its settings."""

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
    instances: Iterable[str] = (),
    limit: int | None = None,
    shard: Shard | None = None,
    evaluator: str = "polling",
    strategy: str = "direct",
    prompts: PromptSet | None = None,
) -> Plan:
    """Decide what to ask: all instances of the tasks, or the first ``limit`` of each.

    With ``instances``, ids of the annotation file, only about these, and with a ``shard``, its part
    of these questions. Unsaid, ``prompts`` are the published script's for direct inference, with
    which Table 1 was made, and the paper's for chains of thought, where the script is broken for
    Qwen2-VL. Raises `DataError` for unusable annotations and `UsageError` for unknown tasks and
    instances, where nothing is left to ask, or where a setting holds a secret.
    """
    refuse_secrets_of(model)
    annotations = read_annotations(data.annotations, scale)
    annotations.require_usable()
    hashes = task_hashes()
    chosen = [spec.key for spec in select_tasks(tasks) if annotations.counts[spec.key]]
    named = _named_instances(annotations, instances)
    if named:
        chosen = [key for key in chosen if key in {each.task for each in named}]
    settings = Settings(
        model=model,
        evaluator=evaluator,
        strategy=strategy,
        prompts=(prompts or DEFAULT_PROMPTS[strategy]).value,
        annotations=source_of(annotations),
        tasks={key: hashes[key] for key in chosen},
        limit=limit,
        shard=shard,
        instances=tuple(each.id for each in named) or None,
    )
    questions = tuple(questions_of(settings, annotations))
    if not questions:
        raise UsageError(f"{annotations.path}: has no instances of the tasks asked for")
    return Plan(settings, annotations, data, questions)


def _named_instances(annotations: Annotations, ids: Iterable[str]) -> list[Instance]:
    """The instances of these ids, in the annotation file's order. Raises `UsageError`."""
    wanted = set(ids)
    if not wanted:
        return []
    named = [each for each in annotations.instances if each.id in wanted]
    for unknown in sorted(wanted - {each.id for each in named}):
        known = [each.id for each in annotations.instances]
        close = get_close_matches(unknown, known, n=3) or known[:1]
        raise UsageError(
            f"--instance {unknown}: {annotations.path} has no instance of this id; there is "
            f"{', '.join(close)}"
        )
    return named


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


def strategy_of(settings: Settings) -> Callable[[Question], Strategy]:
    """The strategy of a run under these settings, with its wordings."""
    return find_strategy(settings.strategy, settings.prompts, settings.model.dialect.name)
