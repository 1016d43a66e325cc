"""Unpacking images from zip and tar archives that come from elsewhere.

Only images that an annotation file names are written, under the names that it gives them: no name
in an archive ever decides where a file goes. An archive with an entry that has no business in a
data set (a path that leads elsewhere, a link, a device) is refused as a whole all the same, since
it is not what it claims to be. Compressed tar archives are not read: their headers alone can
unpack to more than fits into memory. Of what is read before the first image is known (a zip's
directory, a tar entry's extended headers), the size is bounded.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from migbench.data import Progress, no_progress
from migbench.data.images import ImageFolder
from migbench.data.instances import normalise_path
from migbench.errors import DataError, UsageError
from migbench.util.files import errors_named
from migbench.util.input_files import open_regular

ARCHIVE = 2**40
"""The largest archive, in bytes."""

SUFFIXES = (".zip", ".tar")

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    ValueError,
)
"""What the standard library raises on an archive that is damaged or of an unknown kind."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold, unpacked. MIG-Bench's: 5,887 images in about 1 GB."""

    entries: int = 100_000
    total_bytes: int = 20 * 2**30
    directory_bytes: int = 64 * 2**20
    """A zip's directory, which takes some 100 bytes a file."""
    header_bytes: int = 16 * 2**10
    """The headers of one entry of a tar: its name in full, times and attributes."""
    global_fields: int = 100
    """What a tar says of all entries that follow."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive: its normalised path, its size unpacked, and its CRC-32 if known."""

    path: str
    size: int
    checksum: int | None
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """How many images an archive holds that were wanted, and how many had to be written."""

    images: int
    written: int


def unpack(
    archive: Path,
    wanted: Collection[str],
    folder: ImageFolder,
    limits: Limits = Limits(),
    progress: Progress = no_progress,
) -> Unpacked:
    """Write the ``wanted`` images that an archive holds to where ``folder`` finds them.

    What is there already, the same, is left alone, and each image appears complete or not at all:
    an interrupted unpacking goes on when it is repeated. Raises `DataError` for an archive that is
    to be refused, before anything is written, and where damage is met.
    """
    with _entries(archive, limits) as entries:
        images = match_names(entries, wanted)
        written = 0
        for done, (name, entry) in enumerate(images.items(), start=1):
            target = folder.file(name).path
            assert target is not None
            if not _is_unpacked(target, entry):
                _write(target, entry)
                written += 1
            progress(done, len(images))
    return Unpacked(len(images), written)


def match_names(entries: Iterable[Entry], wanted: Collection[str]) -> dict[str, Entry]:
    """The entries that are wanted images, by the images' names.

    The folders in an archive need not begin where the names do: the one shift that fits most
    entries (leave off leading folders, put others before) is applied to all.
    """
    entries = list(entries)
    prefixes: dict[str, set[str]] = {}
    for name in wanted:
        for prefix, rest in _splits(name):
            prefixes.setdefault(rest, set()).add(prefix)
    shifts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for left_off, rest in _splits(entry.path):
            if len(found := prefixes.get(rest, ())) == 1:
                shifts[left_off, *found] += 1
                break
    if not shifts:
        return {}
    left_off, prefix = shifts.most_common(1)[0][0]
    shifted = {
        prefix + entry.path.removeprefix(left_off): entry
        for entry in entries
        if entry.path.startswith(left_off)
    }
    names = set(wanted)
    return {name: entry for name, entry in shifted.items() if name in names}


def _splits(path: str) -> Iterator[tuple[str, str]]:
    """All ways to part leading folders, with the slash, from the rest; the longest rest first."""
    parts = PurePosixPath(path).parts
    for cut in range(len(parts)):
        rest = "/".join(parts[cut:])
        yield path.removesuffix(rest), rest


@contextmanager
def _entries(archive: Path, limits: Limits) -> Iterator[list[Entry]]:
    """The files in an archive, to be read within the context. Raises `DataError`."""
    try:
        with open_regular(archive, ARCHIVE) as file:
            bounded = _Bounded(file)
            if archive.suffix == ".zip":
                bounded.allow(limits.directory_bytes)
                with zipfile.ZipFile(bounded) as opened:
                    bounded.allow(None)
                    yield _within(limits, archive, _zip_entries(opened))
            else:
                bounded.allow(limits.header_bytes)
                with tarfile.open(fileobj=bounded, mode="r:") as opened_tar:
                    entries = _tar_entries(opened_tar, bounded, limits)
                    listed = _within(limits, archive, entries)
                    bounded.allow(None)
                    yield listed
    except (OSError, UsageError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error})") from error
    except _BROKEN as error:
        raise DataError(
            f"{archive}: refused, {error}; delete it and download it again, "
            "and if that does not help, unpack by hand what you trust"
        ) from error


_DIGITS = re.compile(rb"\d{256}")
"""What takes the standard library a time that grows with the square of the length."""


class _Bounded(io.RawIOBase):
    """A file of which only so much may be read until more is allowed.

    The standard library reads a directory or a header whole, however large it claims to be.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left: int | None = 0

    def allow(self, size: int | None) -> None:
        """From now on no more than ``size`` bytes may be read; None lifts the bound."""
        self._left = size

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        if self._left is None:
            return self._file.read(wanted)
        content = self._file.read(min(wanted, self._left + 1) if wanted >= 0 else self._left + 1)
        if max(wanted, len(content)) > self._left:
            raise ValueError("the headers in it are larger than any real ones")
        if _DIGITS.search(content):
            raise ValueError("a header in it is a number longer than any file name")
        self._left -= len(content)
        return content

    def readinto(self, buffer: Any, /) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _within(limits: Limits, archive: Path, entries: Iterable[Entry]) -> list[Entry]:
    kept: list[Entry] = []
    total = 0
    for entry in entries:
        kept.append(entry)
        total += entry.size
        if len(kept) > limits.entries or total > limits.total_bytes:
            raise DataError(
                f"{archive}: refused, it would unpack to more than {limits.entries} files or "
                f"{limits.total_bytes} bytes; if it is to be trusted, unpack it by hand"
            )
    return kept


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        # The upper half holds Unix permissions, or nothing where the archive comes from elsewhere.
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{info.filename!r} is a link or a device")
        if info.flag_bits & 1:
            raise ValueError(f"{info.filename!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename!r} is compressed in an unusual way")
        path = normalise_path(info.filename)
        yield Entry(path, info.file_size, info.CRC, partial(archive.open, info))


def _tar_entries(archive: tarfile.TarFile, bounded: _Bounded, limits: Limits) -> Iterator[Entry]:
    for info in archive:
        bounded.allow(limits.header_bytes)  # For the next one.
        if len(archive.pax_headers) > limits.global_fields:
            raise ValueError("it says more of all its entries than any real archive")
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise ValueError(f"{info.name!r} is a link or a device")
        path = normalise_path(info.name)
        yield Entry(path, info.size, None, partial(_open_tar_entry, archive, info))


def _open_tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = archive.extractfile(info)
    assert opened is not None, "a regular file has content"
    return opened


def _is_unpacked(target: Path, entry: Entry) -> bool:
    """Whether the file is there, the same as far as the archive tells (tar tells only the size)."""
    if not target.is_file() or target.stat().st_size != entry.size:
        return False
    return entry.checksum is None or zlib.crc32(target.read_bytes()) == entry.checksum


def _write(target: Path, entry: Entry) -> None:
    unfinished = target.with_name(f".{target.name}.part")
    with errors_named(target, unfinished):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with entry.open() as source, unfinished.open("wb") as file:
                shutil.copyfileobj(source, file)
            unfinished.replace(target)
        finally:
            with suppress(OSError):  # What went wrong is told already.
                unfinished.unlink(missing_ok=True)
