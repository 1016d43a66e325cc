"""Running lmms-eval's evaluation in this process: tasks from files, a model of ours, figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from migbench.errors import AdapterError, DataError, MigbenchError
from migbench.integrations.lmms_eval.suites.suites import Benchmark
from migbench.tasks import tasks_folder

THOUGHTS = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'
"""What lmms-eval's command line takes out of answers before it scores them."""


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """One task: the means of its metrics, and over how many documents."""

    documents: int
    metrics: Mapping[str, float]


def lmms_eval_version() -> str:
    """The installed version. Raises `AdapterError` where there is none."""
    try:
        return version("lmms-eval")
    except PackageNotFoundError as error:
        raise AdapterError(
            "the paper's other tables are measured by lmms-eval, which is not installed; "
            "docs/lmms-eval.md says how to install it without losing your torch"
        ) from error


@contextmanager
def quiet_output() -> Iterator[None]:
    """Keep standard output for a command's result: lmms-eval prints and logs there."""
    with redirect_stdout(sys.stderr):
        import_module("lmms_eval.evaluator")
        logger = import_module("loguru").logger
        logger.remove()
        logger.add(sys.stderr, level="WARNING")
        yield


def evaluate(
    model: Any, benchmark: Benchmark, data: Path | None, limit: int | None, logs: Path
) -> dict[str, TaskFigures]:
    """Every task's figures, by its name. ``model`` is one of lmms-eval's, started.

    Raises what the model raises, and `DataError` where lmms-eval cannot load or score a task.
    """
    try:
        tasks = [_task(benchmark, name, data) for name in benchmark.tasks]
        done = import_module("lmms_eval.evaluator").simple_evaluate(
            model=model,
            tasks=tasks,
            # Tasks are given as objects, so no names need be looked up.
            task_manager=import_module("lmms_eval.tasks").TaskManager(include_defaults=False),
            limit=limit and limit * benchmark.documents,
            bootstrap_iters=0,
            log_samples=False,
            cli_args=SimpleNamespace(
                output_path=str(logs), process_with_media=False, reasoning_tags=THOUGHTS
            ),
        )
    except MigbenchError:
        raise
    # lmms-eval and the tasks' own functions raise anything.
    except Exception as error:
        raise _explained(benchmark, error) from error
    found = {
        name: TaskFigures(done["n-samples"][name]["effective"], _metrics(figures))
        for name, figures in done["results"].items()
    }
    given = {metric for task in found.values() for metric in task.metrics}
    # The first documents of a task may all be of one kind.
    if limit is None and (missing := [each for each in benchmark.metrics if each not in given]):
        raise DataError(f"{benchmark.name}: lmms-eval gave no {', '.join(missing)}")
    return found


def figure(benchmark: Benchmark, tasks: Mapping[str, TaskFigures]) -> float:
    """The benchmark's figure, from its tasks'."""
    total = sum(task.documents for task in tasks.values())
    return benchmark.scale * sum(
        task.metrics.get(name, 0.0) * task.documents / total
        for task in tasks.values()
        for name in benchmark.metrics
    )


def _task(benchmark: Benchmark, name: str, data: Path | None) -> Any:
    ours = tasks_folder() / "general"
    theirs = Path(import_module("lmms_eval.tasks").__file__ or "").parent
    path = (ours if benchmark.ours else theirs) / name
    config: dict[str, Any] = import_module("lmms_eval.utils").load_yaml_config(
        str(path), mode="full"
    )
    # What is not read is not made: one of them writes spreadsheets.
    config["metric_list"] = [
        each
        for each in config["metric_list"]
        if benchmark.ours or each["metric"] in benchmark.metrics
    ]
    if data is not None:
        config["dataset_path"] = str((data / benchmark.folder).resolve())
        kwargs = config.get("dataset_kwargs") or {}
        config["dataset_kwargs"] = {key: kwargs[key] for key in kwargs if key != "token"}
    return import_module("lmms_eval.api.task").ConfigurableMessagesTask(config=config)


def _metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """The metrics, without lmms-eval's names for filters and without its standard errors."""
    found = {key.partition(",")[0]: value for key, value in figures.items() if "," in key}
    return {
        name: float(value)
        for name, value in found.items()
        if "_stderr" not in name and isinstance(value, int | float)
    }


def _explained(benchmark: Benchmark, error: Exception) -> MigbenchError:
    """What went wrong, without the layers that retried it."""
    cause: BaseException = error
    while type(cause).__name__ == "RetryError" and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, MigbenchError):
        return cause
    return DataError(
        f"{benchmark.name}: lmms-eval failed ({type(cause).__name__}: {cause}); is its data laid "
        f"out as the hub's {benchmark.hub}? --benchmarks leaves a benchmark out"
    )
