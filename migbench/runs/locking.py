"""One process at a time works on a run folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from migbench.errors import UsageError
from migbench.util.files import errors_named

LOCK = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What the system says where a file system has no locks."""


@contextmanager
def lock_run(folder: Path, *, without_lock: bool = False) -> Iterator[None]:
    """Keep other processes out of a run folder, which is made if need be.

    Raises `UsageError` where one is in it, and where the file system has no locks, unless the user
    vouches for being alone.
    """
    with errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    if path.is_symlink():
        raise UsageError(f"{path}: is a link, and no lock of migbench's; remove it")
    # A lock that is the mere existence of a file outlives its process, or is taken for dead.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is working on this run") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UsageError(f"{path}: cannot be locked ({error.strerror or error})") from error
        if not without_lock:
            raise UsageError(
                f"{folder}: its file system has no locks, so that two processes could ask "
                "everything twice; where no other works on this run, say so with --without-lock"
            ) from error
    try:
        yield
    finally:
        lock.release()
