"""Unpacking images: from archives good, damaged and hostile."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.archive_files import CONTENTS, NAMES, below, files_in, write_tar, write_zip

from migbench.data.archives import Entry, Limits, Unpacked, match_names, unpack
from migbench.data.images import ImageFolder
from migbench.data.instances import normalise_path
from migbench.errors import DataError

# --- unpacking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("prefix", ["", "MIG-Bench/", "./", "eval/MIG-Bench/", "a/b/"])
def test_images_are_found_wherever_the_archives_paths_begin(
    tmp_path: Path, write: Callable[..., Path], prefix: str
) -> None:
    suffix = ".zip" if write is write_zip else ".tar"
    archive = write(tmp_path / f"images{suffix}", below(prefix))
    folder = tmp_path / "MIG"
    folder.mkdir()
    assert unpack(archive, NAMES, ImageFolder(folder)) == Unpacked(images=3, written=3)
    for name, content in CONTENTS.items():
        assert ImageFolder(folder).file(name).read() == content
    assert files_in(folder) == set(NAMES)


def test_an_archive_of_one_task_is_placed_by_what_is_in_it(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "diff.zip", {"diff/1.png": b"one", "diff/2.png": b"two"})
    assert unpack(archive, NAMES, ImageFolder(tmp_path)).images == 2
    assert (tmp_path / NAMES[1]).read_bytes() == b"two"


def test_an_entry_that_could_be_several_images_is_not_guessed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", {"1.png": b"of diff or of ot?"})
    assert unpack(archive, NAMES, ImageFolder(tmp_path)) == Unpacked(images=0, written=0)


def test_one_placement_holds_for_a_whole_archive(tmp_path: Path) -> None:
    odd = {"top/images/diff/1.png": b"1", "top/images/diff/2.png": b"2", "images/ot/1.png": b"3"}
    archive = write_zip(tmp_path / "images.zip", odd)
    assert unpack(archive, NAMES, ImageFolder(tmp_path)).images == 2
    assert files_in(tmp_path) == {"images.zip", *NAMES[:2]}


def test_only_images_that_the_annotations_name_are_written(tmp_path: Path) -> None:
    extra = {"__MACOSX/images/diff/._1.png": b"", "images/diff/run.sh": b"#!", "README": b"hello"}
    archive = write_zip(tmp_path / "images.zip", below("") | extra)
    unpack(archive, NAMES, ImageFolder(tmp_path))
    assert files_in(tmp_path) == {"images.zip", *NAMES}


ENTRY_PATHS = st.lists(st.sampled_from(["..", "a", "MIG-Bench", "images", "diff", "1.png", "x"]))


@given(st.lists(ENTRY_PATHS.map("/".join)))
def test_nothing_but_wanted_names_comes_out_of_any_archive(paths: list[str]) -> None:
    entries = []
    for path in paths:
        try:
            entries.append(Entry(normalise_path(path), 0, None, io.BytesIO))
        except ValueError:
            continue
    matched = match_names(entries, NAMES)
    assert matched.keys() <= set(NAMES)
    for name, entry in matched.items():
        assert (
            name.endswith(entry.path) or entry.path.endswith(name) or name[-6:] == entry.path[-6:]
        )


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_unpacking_again_leaves_what_is_there_alone(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    archive = write(tmp_path / ("i.zip" if write is write_zip else "i.tar"), below(""))
    unpack(archive, NAMES, ImageFolder(tmp_path))
    before = (tmp_path / NAMES[0]).stat().st_mtime_ns
    assert unpack(archive, NAMES, ImageFolder(tmp_path)) == Unpacked(images=3, written=0)
    assert (tmp_path / NAMES[0]).stat().st_mtime_ns == before


def test_an_interrupted_unpacking_goes_on(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, NAMES, ImageFolder(tmp_path), progress=interrupt)
    assert files_in(tmp_path) == {"images.zip", *NAMES[:2]}
    assert unpack(archive, NAMES, ImageFolder(tmp_path)) == Unpacked(images=3, written=1)


def test_an_image_of_another_revision_is_replaced_even_at_the_same_size(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    unpack(archive, NAMES, ImageFolder(tmp_path))
    (tmp_path / NAMES[0]).write_bytes(bytes(len(CONTENTS[NAMES[0]])))
    assert unpack(archive, NAMES, ImageFolder(tmp_path)).written == 1
    assert (tmp_path / NAMES[0]).read_bytes() == CONTENTS[NAMES[0]]


def test_images_that_were_unpacked_by_hand_are_recognised(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    assert unpack(archive, NAMES, ImageFolder(tmp_path)) == Unpacked(images=3, written=0)


# --- hostile archives -----------------------------------------------------------------------------


def zip_entry(name: str, mode: int = stat.S_IFREG | 0o644, **changes: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE_ZIP = {
    "absolute path": zip_entry("/tmp/1.png"),
    "parent folder": zip_entry("images/../../1.png"),
    "parent folder, backslashes": zip_entry("images\\..\\..\\1.png"),
    "drive letter": zip_entry("C:\\1.png"),
    "symbolic link": zip_entry("images/diff/3.png", stat.S_IFLNK | 0o777),
    "device": zip_entry("images/diff/3.png", stat.S_IFCHR | 0o666),
    "pipe": zip_entry("images/diff/3.png", stat.S_IFIFO | 0o666),
    "unusual compression": zip_entry("images/diff/3.png", compress_type=zipfile.ZIP_LZMA),
}
HOSTILE_TAR = {
    "absolute path": tar_entry("/tmp/1.png"),
    "parent folder": tar_entry("images/../../1.png"),
    "symbolic link": tar_entry("images/diff/1.png", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": tar_entry("images/diff/1.png", tarfile.LNKTYPE, "/etc/passwd"),
    "device": tar_entry("images/diff/1.png", tarfile.CHRTYPE),
    "pipe": tar_entry("images/diff/1.png", tarfile.FIFOTYPE),
    "sparse file": tar_entry("images/diff/1.png", tarfile.GNUTYPE_SPARSE),
}


def assert_refused(archive: Path, folder: Path, **arguments: Any) -> str:
    """Unpacking fails in words, and not one file was written."""
    folder.mkdir()
    with pytest.raises(DataError) as refusal:
        unpack(archive, NAMES, ImageFolder(folder), **arguments)
    assert files_in(folder.parent) == {archive.name}
    assert str(refusal.value).startswith(f"{archive}: refused, ")
    return str(refusal.value)


@pytest.mark.parametrize("entry", HOSTILE_ZIP.values(), ids=HOSTILE_ZIP)
def test_a_zip_with_an_entry_that_has_no_business_there_is_refused(
    tmp_path: Path, entry: zipfile.ZipInfo
) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(entry, b"/etc/passwd")
    assert_refused(archive, tmp_path / "MIG")


@pytest.mark.parametrize("entry", HOSTILE_TAR.values(), ids=HOSTILE_TAR)
def test_a_tar_with_an_entry_that_has_no_business_there_is_refused(
    tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    archive = write_tar(tmp_path / "images.tar", below(""))
    with tarfile.open(archive, "a") as opened:
        opened.addfile(entry)
    assert_refused(archive, tmp_path / "MIG")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    content = bytearray(archive.read_bytes())
    # The flags of the first entry in the central directory.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in assert_refused(archive, tmp_path / "MIG")


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    assert "more than 2 files" in assert_refused(
        archive, tmp_path / "MIG", limits=Limits(entries=2)
    )


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    bomb = {"images/diff/1.png": bytes(5_000_000)}
    archive = write_zip(tmp_path / "images.zip", bomb)
    assert archive.stat().st_size < 10_000
    refusal = assert_refused(archive, tmp_path / "MIG", limits=Limits(total_bytes=4_999_999))
    assert "unpack it by hand" in refusal


def test_an_entry_that_unpacks_to_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", {"images/diff/1.png": bytes(5_000_000)})
    content = archive.read_bytes().replace((5_000_000).to_bytes(4, "little"), b"\x10\0\0\0")
    archive.write_bytes(content)
    assert_refused(archive, tmp_path / "MIG", limits=Limits(total_bytes=1000))


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("content", [b"", b"not an archive", bytes(100_000)[::-1] + b"PK\5\6"])
def test_what_is_no_archive_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    archive = tmp_path / f"images{suffix}"
    archive.write_bytes(content)
    if suffix == ".tar" and content.startswith(b"\0"):
        # Blocks of zeros are how an empty archive looks.
        assert unpack(archive, NAMES, ImageFolder(tmp_path)).images == 0
    else:
        assert_refused(archive, tmp_path / "MIG")


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    assert_refused(write_tar(tmp_path / "images.tar", below(""), "w:gz"), tmp_path / "MIG")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_damaged_archive_leaves_no_damaged_image(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    noise = {"images/diff/1.png": os.urandom(50_000)}
    archive = write(tmp_path / ("i.zip" if write is write_zip else "i.tar"), noise)
    content = bytearray(archive.read_bytes())
    if write is write_zip:
        content[20_000:20_100] = bytes(100)
    else:
        del content[20_000:]
    archive.write_bytes(content)
    with pytest.raises(DataError, match="download it again"):
        unpack(archive, NAMES, ImageFolder(tmp_path))
    assert files_in(tmp_path) == {archive.name}


def test_a_link_in_the_data_folder_does_not_lead_images_out_of_it(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    (tmp_path / "outside").mkdir()
    (tmp_path / "MIG").mkdir()
    (tmp_path / "MIG" / "MIG-Bench").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="leads out of"):
        unpack(archive, NAMES, ImageFolder(tmp_path / "MIG"))
    assert files_in(tmp_path / "outside") == set()


def test_a_disk_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", below(""))
    (tmp_path / "MIG-Bench").write_text("a file where a folder is needed")
    with pytest.raises(DataError, match=r"images\.zip: cannot be unpacked"):
        unpack(archive, NAMES, ImageFolder(tmp_path))


# --- headers that cost more than they say ---------------------------------------------------------


def header(size: int, kind: bytes, name: str = "header") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def extended(content: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return header(len(content), kind) + content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def field(name: str, value: str) -> bytes:
    rest = f" {name}={value}\n"
    length = len(rest) + 1
    while len(f"{length}{rest}") != length:
        length += 1
    return f"{length}{rest}".encode()


BOMBS = {
    "400 kB of digits": extended(b"1" * 400_000),
    "digits in a small header": extended(b"1" * 15_000),
    "a long name": extended(b"a" * (30 << 20), tarfile.GNUTYPE_LONGNAME),
    "a header before a header": extended(field("comment", "x")) * 5_000,
    "30,000 folders": extended(field("path", "a/" * 6_000 + "1.png")),
    "fields of all entries": b"".join(
        extended(b"".join(field(f"k{each}.{n}", "v") for n in range(100)), tarfile.XGLTYPE)
        + header(0, tarfile.REGTYPE, f"{each}.png")
        for each in range(100)
    ),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_tar_with_excessive_headers_is_refused_at_once(content: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    archive.write_bytes(content + header(0, tarfile.REGTYPE, "1.png") + b"\0" * 1024)
    started = time.process_time()
    with pytest.raises(DataError, match=r"images\.tar: refused"):
        unpack(archive, NAMES, ImageFolder(tmp_path))
    assert time.process_time() - started < 2


def test_a_zip_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", {"a": b"", "b": b""})
    archive.write_bytes(archive.read_bytes().replace(b"a", b"\0"))
    with pytest.raises(DataError, match=r"images\.zip: refused"):
        unpack(archive, NAMES, ImageFolder(tmp_path))


def test_an_archive_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    for name in ("images.tar", "images.zip"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="is a pipe"):
            unpack(tmp_path / name, NAMES, ImageFolder(tmp_path))


def test_a_zip_of_very_deep_folders_is_refused_at_once(tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "images.zip", {f"{'a/' * 30_000}{number}.png": b"" for number in range(100)}
    )
    started = time.process_time()
    with pytest.raises(DataError, match="64 folders"):
        unpack(archive, NAMES, ImageFolder(tmp_path))
    assert time.process_time() - started < 2


def test_a_zip_whose_directory_is_excessive_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "images.zip", {"a" * 60_000: b"", "b" * 60_000: b""})
    with pytest.raises(DataError, match="larger than any real ones"):
        unpack(archive, NAMES, ImageFolder(tmp_path), Limits(directory_bytes=100_000))
