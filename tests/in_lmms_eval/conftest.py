"""These tests need lmms-eval, whose versions are its own: `make test-lmms-eval` runs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from migbench.mini import render

# Without lmms-eval there is nothing to collect here, which is no failure and no skipped test.
collect_ignore_glob = [] if importlib.util.find_spec("lmms_eval") else ["*.py"]

Scored = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep lmms-eval's copies of the annotation files out of the user's cache, and the hub away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MIG-Mini with six instances a task."""
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=6)
    return folder


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Set the two environment variables."""

    def to(data: Path, dialect: str) -> None:
        monkeypatch.setenv("MIGBENCH_DATA", str(data))
        monkeypatch.setenv("MIGBENCH_DIALECT", dialect)

    return to


def evaluate(model: Any, *tasks: str) -> dict[str, Any]:
    """Score a model of lmms-eval's, already started, as its command line does."""
    from lmms_eval import evaluator
    from lmms_eval.tasks import TaskManager

    from migbench.tasks import tasks_folder

    manager = TaskManager(include_path=str(tasks_folder()), include_defaults=False)
    done: dict[str, Any] = evaluator.simple_evaluate(
        model=model, tasks=list(tasks), task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    return done
