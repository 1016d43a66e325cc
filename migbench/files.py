"""Files and folders that appear under their names when they are complete, and never before."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migbench.errors import UsageError

_DISK_FULL = "free some space, then give the same command"
_REMEDIES = {
    errno.EACCES: "you may not write in {}: allow it with chmod u+w, or choose another place",
    errno.EPERM: "you may not write in {}: choose another place",
    errno.EROFS: "{} is on a file system that is mounted read-only: choose another place",
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EISDIR: "there is a folder of this name: choose another name",
    errno.ENOTDIR: "{} is a file, or below one: choose another place",
    errno.EEXIST: "{} is a file: choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Where to write what is to be this file; a file that is there stays until it is written.

    Folders above it are made. What an error leaves behind is removed. Raises `UsageError`, naming
    the file and not the one that stands in for it, where the system does not let us write.
    """
    partial = path.with_name(path.name + ".partial")
    with errors_named(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            with suppress(OSError):  # What went wrong is told already.
                partial.unlink(missing_ok=True)


@contextmanager
def errors_named(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn a system's error about a file that is to be written into a `UsageError` that names it.

    Errors about files other than this one, its folder and its ``partial`` form are left alone.
    """
    ours = {None, *map(str, (path, path.parent, partial or path))}
    try:
        yield
    except OSError as error:
        about_another = error.filename is not None and str(error.filename) not in ours
        if error.errno is None or about_another:
            raise
        remedy = _REMEDIES.get(error.errno, "choose another place")
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); {remedy.format(path.parent)}"
        ) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to write what is to be this folder. Raises `UsageError` where there is something.

    Folders above it are made. What an error leaves behind is removed.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path}: is there already, and not empty; choose another --out")
    with errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        error.filename = None  # A made-up name would mean nothing to anyone.
        with errors_named(path):
            raise
    try:
        yield unfinished
        unfinished.chmod(0o755)
        unfinished.replace(path)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
