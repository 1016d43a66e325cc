"""Carry a plan out: start the model, ask what is not answered yet, and store every answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import monotonic

from migbench.dialects import PromptSet
from migbench.errors import MigbenchError
from migbench.messages import Adapter
from migbench.models.adapters import check_settings, start_adapter
from migbench.models.boundary import closed
from migbench.models.event_loop import EventLoop
from migbench.models.resolving import Model, resizing_of_adapter, with_resizing
from migbench.runs.environment import new_manifest
from migbench.runs.fingerprints import fingerprint_of_checkpoint
from migbench.runs.manifest import Status
from migbench.runs.opening import open_run
from migbench.runs.plan import Plan, strategy_of
from migbench.runs.replay import replay
from migbench.runs.runner import Progress, Runner
from migbench.runs.store import Lines, RunStore
from migbench.runs.watchdog import SLOW_AFTER


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
            store.record_checkpoint(fingerprint_of_checkpoint(plan.settings.model))
            _record_model(store, adapter, plan.settings.model)
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


def _record_model(store: RunStore, adapter: Adapter, declared: Model) -> None:
    """Record in which frame the model's processor shows images, where boxes are in its pixels."""
    try:
        store.record_model(with_resizing(declared, resizing_of_adapter(adapter)))
    except MigbenchError:
        with EventLoop() as loop:
            loop.run(closed(adapter))
        raise
