"""A general run: one model, some benchmarks, one folder that keeps answers and figures.

``general.json`` says what was measured, ``answers.jsonl`` what was said. A benchmark that is done
is not measured again; one with failures has no figure, and the same command asks those again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from migbench.errors import ModelError, UsageError
from migbench.integrations.lmms_eval.suites.answer_log import open_log
from migbench.integrations.lmms_eval.suites.chat_model import Watch, model_class
from migbench.integrations.lmms_eval.suites.declared import declared
from migbench.integrations.lmms_eval.suites.harness import (
    evaluate,
    figure,
    lmms_eval_version,
    quiet_output,
)
from migbench.integrations.lmms_eval.suites.suites import Benchmark, check_data
from migbench.models.adapters import serving_settings
from migbench.models.resolving import Model, with_known_frame, with_resizing
from migbench.runs.answers_file import ANSWERS
from migbench.runs.environment import current_environment
from migbench.runs.locking import LOCK, lock_run
from migbench.runs.manifest import Environment, write_json
from migbench.runs.run_log import RUN_LOG
from migbench.runs.settings import model_differences
from migbench.util.json_files import read_json

MANIFEST = "general.json"


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one benchmark: a figure, or the reason for none."""

    figure: float | None = None
    error: str | None = None
    documents: int = 0
    limit: int | None = None
    lmms_eval: str = ""
    tasks: dict[str, dict[str, float]] = {}
    """The metrics of each of its tasks, and their ``documents``."""


class GeneralRun(msgspec.Struct, frozen=True, kw_only=True):
    """What ``general.json`` says."""

    created: str
    model: Model
    generation: dict[str, Any]
    """What the user set over the tasks' own settings."""
    environment: Environment
    benchmarks: dict[str, Measured] = {}


def read_general_run(folder: Path) -> GeneralRun:
    """What a folder holds. Raises `UsageError` where it is no general run, else `DataError`."""
    path = folder / MANIFEST
    if not path.exists():
        raise UsageError(f"{folder}: is not a general run (it has no {MANIFEST})")
    return read_json(path, GeneralRun, "the manifest of a general run")


def measure(
    benchmarks: Iterable[Benchmark],
    model: Model,
    out: Path,
    *,
    data: Path | None = None,
    limit: int | None = None,
    generation: Mapping[str, Any] | None = None,
    watch: Callable[[Benchmark], Watch] = lambda benchmark: lambda done, total: None,
    without_lock: bool = False,
) -> GeneralRun:
    """Measure the benchmarks that are not done yet, and keep what was found.

    Raises `UsageError` where the folder holds another model's run or data is missing, `DataError`
    where a data set is not as published, `AdapterError` where lmms-eval or the model cannot start.
    """
    chosen = tuple(benchmarks)
    engine = lmms_eval_version()
    check_data(chosen, data)
    out.mkdir(parents=True, exist_ok=True)
    with lock_run(out, without_lock=without_lock):
        run = _begun(out, model, dict(generation or {}))
        todo = [each for each in chosen if not _is_done(run, each, limit, engine)]
        if not todo:
            return run
        with open_log(out / ANSWERS) as answers, quiet_output():
            asked = model_class()(model, answers=answers, generation=run.generation)
            try:
                used = with_resizing(model, asked.resizing)
                run = msgspec.structs.replace(run, model=used)
                with declared(used.dialect, data):
                    for each in todo:
                        asked.watching = watch(each)
                        found = _measured(asked, each, data, limit, out, engine)
                        run = _kept(run, out, each, found)
            finally:
                asked.close()
        return run


def _begun(out: Path, model: Model, generation: dict[str, Any]) -> GeneralRun:
    """The run in this folder, if it is this model's, or a new one."""
    if (out / MANIFEST).exists():
        run = read_general_run(out)
        model = with_known_frame(model, run.model)
        changes = model_differences(run.model, model, serving_settings(model.adapter))
        changes += [("generation", run.generation, generation)] * (run.generation != generation)
        if changes:
            told = "\n".join(f"  {name}: was {old!r}, is now {new!r}" for name, old, new in changes)
            raise UsageError(
                f"{out}: was made under other settings; choose another --out, or set back\n{told}"
            )
        return run
    if strangers := [
        path.name for path in out.iterdir() if path.name not in (LOCK, ANSWERS, RUN_LOG)
    ]:
        raise UsageError(
            f"{out}: is no general run (it holds {strangers[0]}); choose another --out"
        )
    return GeneralRun(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model,
        generation=generation,
        environment=current_environment(),
    )


def _is_done(run: GeneralRun, benchmark: Benchmark, limit: int | None, engine: str) -> bool:
    known = run.benchmarks.get(benchmark.key)
    return known is not None and (
        known.figure is not None and (known.limit, known.lmms_eval) == (limit, engine)
    )


def _measured(
    asked: Any, benchmark: Benchmark, data: Path | None, limit: int | None, out: Path, engine: str
) -> Measured:
    try:
        tasks = evaluate(asked, benchmark, data, limit, out / "lmms-eval")
    except ModelError as error:
        return Measured(error=str(error), limit=limit, lmms_eval=engine)
    return Measured(
        figure=figure(benchmark, tasks),
        documents=sum(task.documents for task in tasks.values()),
        limit=limit,
        lmms_eval=engine,
        tasks={
            name: {"documents": float(task.documents), **task.metrics}
            for name, task in tasks.items()
        },
    )


def _kept(run: GeneralRun, out: Path, benchmark: Benchmark, found: Measured) -> GeneralRun:
    together = {**run.benchmarks, benchmark.key: found}
    run = msgspec.structs.replace(run, benchmarks=together)
    write_json(out / MANIFEST, run)
    return run
