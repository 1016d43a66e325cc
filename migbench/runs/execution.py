"""Carry a plan out: start the model, ask what is not answered yet, and store every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import wait
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TypedDict, Unpack

from migbench.dialects import PromptSet
from migbench.errors import MigbenchError
from migbench.messages import Adapter
from migbench.models.adapters import check_settings, start_adapter
from migbench.models.boundary import closed
from migbench.models.event_loop import EventLoop, Interruption
from migbench.models.resolving import (
    Model,
    resizing_of_adapter,
    with_resizing,
)
from migbench.runs.answer_lines import Lines
from migbench.runs.environment import new_manifest
from migbench.runs.findings import FindingKind
from migbench.runs.fingerprints import fingerprint_of_checkpoint
from migbench.runs.manifest import MANIFEST, Manifest, Status, read_manifest
from migbench.runs.opening import open_run, refuse_other_settings, with_known_frame_of
from migbench.runs.patience import PATIENCE
from migbench.runs.plan import Plan, strategy_of
from migbench.runs.preflight import preflight, refuse_problems
from migbench.runs.replay import replay
from migbench.runs.runner import Progress, Runner
from migbench.runs.settings import differences
from migbench.runs.store import Run, RunStore
from migbench.runs.stored import stored_findings
from migbench.runs.unused import removed_if_unused
from migbench.runs.watchdog import SLOW_AFTER
from migbench.util.daemon_threads import DaemonThreads


class Options(TypedDict, total=False):
    """How a plan is carried out; see `execute`. Times are in seconds."""

    slow_after: float
    patience: float
    skip_checks: Collection[str]
    accept_changes: bool
    without_lock: bool
    name: str | None


Watch = Callable[[RunStore], Progress]
"""Makes a run's progress from its store."""


def execute(
    plan: Plan, out: Path, progress: Watch = lambda store: Progress(), **options: Unpack[Options]
) -> Progress:
    """Carry the plan out, or go on with it, in the run folder ``out``.

    What can be checked before is checked first (`migbench.runs.preflight`), but for the checks in
    ``skip_checks``. The model is started only when the folder is found fit, and not at all where
    every question is answered already; a folder in which nothing was stored in the end is removed.
    Interrupted (KeyboardInterrupt goes through), the run is marked stopped, and the same call goes
    on with it later. Requests that take longer than ``slow_after`` seconds are named in the run's
    log and to its progress. Where the model's server is down, the run waits for it, for
    ``patience`` seconds, and then stops. A run that was changed after it was stored goes on only
    with ``accept_changes``, and on a file system without locks only ``without_lock``. ``name`` is
    what tables call the run; without one it keeps the one that it has.

    It works where an event loop runs already, as in a notebook, and blocks it; `execute_async` does
    not.
    """
    call = partial(_execute, plan, out, progress, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call(interruption=Interruption())
    interruption = Interruption()
    done = DaemonThreads(1, "run").submit(call, interruption=interruption)
    try:
        return done.result()
    except KeyboardInterrupt:
        interruption.interrupt()
        wait([done])
        raise


async def execute_async(
    plan: Plan, out: Path, progress: Watch = lambda store: Progress(), **options: Unpack[Options]
) -> Progress:
    """The same as a coroutine; ``progress`` is called from another thread.

    Cancelled, it ends the run as Ctrl-C does, and returns when all is stored.
    """
    interruption = Interruption()
    call = partial(_execute, plan, out, progress, interruption=interruption, **options)
    done = DaemonThreads(1, "run").submit(call)
    try:
        return await asyncio.wrap_future(done)
    except asyncio.CancelledError:
        interruption.interrupt()
        await asyncio.get_running_loop().run_in_executor(None, wait, [done])
        raise


def _execute(
    plan: Plan,
    out: Path,
    progress: Watch,
    *,
    interruption: Interruption,
    slow_after: float = SLOW_AFTER,
    patience: float = PATIENCE,
    skip_checks: Collection[str] = (),
    accept_changes: bool = False,
    without_lock: bool = False,
    name: str | None = None,
) -> Progress:
    manifest = _manifest_of(plan, name)
    if is_finished(plan, out, manifest):
        if name is not None:
            with open_run(out, manifest, without_lock=without_lock) as store:
                store.finish("complete", seconds=0.0)
        return Progress(was_finished=True)
    if (out / MANIFEST).exists():
        refuse_other_settings(out, manifest)
    check_settings(plan.settings.model)
    refuse_problems(preflight(plan, out, skip=skip_checks))
    opened = open_run(
        out,
        manifest,
        accept_changes=accept_changes,
        without_lock=without_lock,
    )
    with removed_if_unused(out), opened as store:
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
                patience=patience,
            )
            started = monotonic()  # The model is up: what is timed is the asking.
            with EventLoop() as loop:
                interruption.watch(loop)
                loop.run(runner.run(plan.questions))
            # A failed request may leave an answer to an earlier one, with other images, say.
            is_complete = not watched.failed and all_answered(plan, store.lines)
            status = "complete" if is_complete else "incomplete"
        finally:
            store.finish(status, seconds=monotonic() - started)
    return watched


def _manifest_of(plan: Plan, name: str | None) -> Manifest:
    folder = plan.data.images.root if plan.data.images else None
    return new_manifest(plan.settings, len(plan.questions), images=folder, name=name)


def is_finished(plan: Plan, out: Path, manifest: Manifest) -> bool:
    """Whether the folder holds the run of this manifest, complete and unchanged."""
    if not (out / MANIFEST).exists():
        return False
    old = read_manifest(out)
    new = with_known_frame_of(manifest, old)
    return (
        old.status == "complete"
        and not differences(old.settings, new.settings, new.serving)
        and _is_same_model(old, new)
        and all(each.kind is not FindingKind.CHANGED for each in stored_findings(out, old))
        and all_answered(plan, Run(out).lines)
    )


def _is_same_model(old: Manifest, new: Manifest) -> bool:
    """Whether a model that would be started now is the run's, as far as that is known before.

    A run of an earlier version may not know its processor's frame; only servers cannot be asked.
    """
    then, now, model = old.environment, new.environment, old.settings.model
    is_open = model.dialect.needs_size and model.frame_from is None
    return (
        then.checkpoint == now.checkpoint
        and then.adapter == now.adapter
        and not (is_open and not then.servers)
    )


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
