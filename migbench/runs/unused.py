"""Nothing of a failed start remains: a run folder in which nothing was stored is taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migbench.errors import UsageError
from migbench.runs.answers_file import ANSWERS
from migbench.runs.locking import LOCK, lock_run
from migbench.runs.manifest import MANIFEST
from migbench.runs.run_log import RUN_LOG


@contextmanager
def removed_if_unused(folder: Path) -> Iterator[None]:
    """Leave nothing of a run in which nothing was stored by the end of the block.

    The folder itself, and those above it, are removed only where they were not there before.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    was_run = (folder / MANIFEST).exists()
    try:
        yield
    finally:
        if folder.is_dir() and not was_run:
            _remove_unused(folder, missing)


def _remove_unused(folder: Path, missing: Iterable[Path]) -> None:
    with suppress(UsageError, OSError), lock_run(folder, without_lock=True):
        answers = folder / ANSWERS
        if answers.exists() and answers.stat().st_size:
            return
        # The lock goes last: whoever waits for it sees then that the file is gone, and makes anew.
        for name in (ANSWERS, RUN_LOG, MANIFEST, LOCK):
            (folder / name).unlink(missing_ok=True)
        for each in missing:
            each.rmdir()
