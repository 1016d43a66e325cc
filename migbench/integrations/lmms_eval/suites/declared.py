"""How the tasks here learn where their data is and how the model writes boxes.

By the two environment variables that `migbench.integrations.lmms_eval.declared` reads, for its
reason. Here ``MIGBENCH_DATA`` is a folder with one sub-folder a benchmark.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from migbench.dialects import Dialect
from migbench.errors import UsageError
from migbench.integrations.lmms_eval.declared import DATA, DIALECT
from migbench.runs.manifest import write_json


def folder_of(benchmark: str) -> Path:
    """A benchmark's folder. Raises `UsageError` where none is declared or there."""
    declared = os.environ.get(DATA, "").strip()
    folder = Path(declared).expanduser() / benchmark
    if not declared or not folder.is_dir():
        found = f"={declared}: has no folder {benchmark}" if declared else " is unset"
        raise UsageError(f"{DATA}{found}; set it to the folder that holds the benchmarks' folders")
    return folder


@contextmanager
def declared(dialect: Dialect, data: Path | None) -> Iterator[None]:
    """Declare both to the tasks that are run inside, whatever the dialect is made of."""
    before = {name: os.environ.pop(name, None) for name in (DATA, DIALECT)}
    with TemporaryDirectory(prefix="migbench-") as folder:
        file = Path(folder) / "dialect.json"
        write_json(file, dialect)
        os.environ[DIALECT] = str(file)
        if data is not None:
            os.environ[DATA] = str(data.resolve())
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
