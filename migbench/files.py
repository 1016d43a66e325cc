"""Files and folders that appear under their names when they are complete, and never before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migbench.errors import UsageError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Where to write what is to be this file; a file that is there stays until it is written.

    Folders above it are made. What an error leaves behind is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to write what is to be this folder. Raises `UsageError` where there is something.

    Folders above it are made. What an error leaves behind is removed.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path}: is there already, and not empty; choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.replace(path)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
