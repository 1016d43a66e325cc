"""Files and folders that appear under their names when they are complete, and never before."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
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
        partial.unlink(missing_ok=True)  # A killed writer's; or a link, which would be followed.
        try:
            yield partial
            flush(partial)  # The name must not outlive a power cut that the content does not.
            partial.replace(path)
            flush(path.parent)
        finally:
            with suppress(OSError):  # What went wrong is told already.
                partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the disk take a file's content, or a folder's names. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Not every file system can do that for a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


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


def open_appending(path: Path) -> FileIO:
    """Open a file of ours to write at its end, unbuffered; it is made where it is not there.

    Raises `UsageError` where something else is there: a link leads to a file that is not ours, and
    a pipe or a device would block.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with errors_named(path):
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise UsageError(f"{path}: is a link, and nothing is written through it") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: is a pipe or a device, and nothing is written to it")
    file = FileIO(descriptor, "ab")
    file.seek(0, os.SEEK_END)
    return file


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to write what is to be this folder. Raises `UsageError` where there is something.

    Folders above it are made. What an error leaves behind is removed.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path}: is there already, and not empty; choose another --out")
    unfinished = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    with errors_named(path, unfinished):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()  # Open to whom the umask lets in.
    try:
        yield unfinished
        publish(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def publish(unfinished: Path, path: Path) -> None:
    """Give a folder that is complete its name, all of it on the disk. Raises `UsageError`."""
    with errors_named(path, unfinished):
        for each in (*unfinished.rglob("*"), unfinished):
            if not each.is_symlink():
                flush(each)
        unfinished.replace(path)
        try:
            flush(path.parent)
        except OSError:
            path.rename(unfinished)  # What is told to have failed is not there.
            raise
