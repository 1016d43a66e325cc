"""Files that come from elsewhere: regular files only, of bounded size, text in UTF-8.

A file that somebody else made is opened here. A FIFO or a device would block or never end, a huge
file would fill the memory before anything is known of it, and another encoding reads as nonsense:
each is a `DataError` that names the file, what it is and the way out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from migbench.errors import DataError
from migbench.util.plain_text import encodable

MIB = 1 << 20
SMALL = 4 * MIB
"""For what people write by hand: tasks, dialects, profiles, configurations."""
LARGE = 2048 * MIB
"""For what programs write: annotations, answers."""

BOM = b"\xef\xbb\xbf"
"""The byte order mark that some editors put before UTF-8; it stands for nothing."""

_KINDS = (
    (stat.S_ISDIR, "is a folder, not a file; name a file in it"),
    (stat.S_ISFIFO, "is a pipe, not a regular file; write its content to a file and name that"),
    (stat.S_ISSOCK, "is a socket, not a regular file; name a file"),
    (stat.S_ISCHR, "is a device, not a regular file; name a file"),
    (stat.S_ISBLK, "is a device, not a regular file; name a file"),
)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def open_regular(path: Path, limit: int = LARGE) -> Iterator[BufferedReader]:
    """Open a regular file of at most ``limit`` bytes for reading; links are followed.

    Never blocks: what is no regular file is refused without being read. Raises `DataError`, also
    where reading fails later, while the file is open.
    """
    try:
        descriptor = _open(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    try:
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _refuse_others(path, status)
            if status.st_size > limit:
                raise too_large(path, status.st_size, limit)
            yield file
    except OSError as error:
        raise unreadable(path, error) from error


def _open(path: Path) -> int:
    _refuse_others(path, path.stat())  # Before it is opened, which alone can move a device.
    # Whoever replaces the file in between by a pipe does not make this wait.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def unreadable(path: Path, error: OSError | ValueError) -> DataError:
    """The error for a file that the system does not let us read (or whose name it refuses)."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    hint = {
        errno.EACCES: "; its owner can allow it with chmod",
        errno.EMFILE: "; allow more open files with ulimit -n",
    }.get(getattr(error, "errno", None) or 0, "")
    return DataError(f"{path}: cannot be read ({reason or error}{hint})")


def too_large(path: Path, size: int, limit: int) -> DataError:
    """The error for a file beyond its limit."""
    return DataError(
        f"{path}: has {size:,} bytes, and no more than {limit:,} are read; "
        "is it the file that was meant?"
    )


def _refuse_others(path: Path, status: os.stat_result) -> None:
    for is_kind, message in _KINDS:
        if is_kind(status.st_mode):
            raise DataError(f"{path}: {message}")


def read_bytes(path: Path, limit: int = LARGE) -> bytes:
    """The content of a regular file, without a byte order mark. Raises `DataError`.

    A file in UTF-16 is refused by name, since every parser would complain of something else.
    """
    return read_raw(path, limit).removeprefix(BOM)


def read_raw(path: Path, limit: int = LARGE) -> bytes:
    """The same with its byte order mark, if it has one: the file byte for byte."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)
        if len(content) > limit:  # It grows, or its size was not told.
            raise too_large(path, len(content), limit)
    refuse_utf_16(path, content)
    return content


def read_text(path: Path, limit: int = SMALL) -> str:
    """The text of a regular file in UTF-8, without a byte order mark. Raises `DataError`."""
    content = read_bytes(path, limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error


def refuse_utf_16(path: Path, beginning: bytes) -> None:
    """Raise `DataError` where a file begins as UTF-16 or UTF-32 does."""
    # Of JSON and YAML in UTF-16, every other byte of the first characters is zero.
    if beginning.startswith(_UTF_16) or b"\0" in beginning[:4]:
        raise DataError(
            f"{path}: is not UTF-8 but, by its first bytes, UTF-16 or binary; convert it, such as "
            "with iconv -f UTF-16 -t UTF-8"
        )


def refuse_other_names(path: Path) -> None:
    """Raise `DataError` for a path that is not UTF-8, which no JSON file could hold."""
    try:
        str(path.resolve()).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{encodable(str(path))}: its path is not UTF-8; rename the file, or the folder that "
            "it is in"
        ) from error
