"""Files that come from elsewhere: what is no regular UTF-8 file of sane size is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migbench.errors import DataError
from migbench.util.input_files import open_regular, read_bytes, read_text


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    file = tmp_path / "marked.json"
    file.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_bytes(file) == b"[1]"
    assert read_text(file) == "[1]"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "message"),
    [(make_pipe, "is a pipe"), (make_folder, "is a folder"), (link_to_device, "is a device")],
)
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, make: object, message: str
) -> None:
    path = tmp_path / "thing.json"
    assert callable(make)
    make(path)
    for read in (read_bytes, read_text):
        with pytest.raises(DataError, match=f"thing.json: {message}"):
            read(path)


@pytest.mark.parametrize("name", ["none.json", "none/none.json", "a\0b", "x" * 300])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read"), open_regular(tmp_path / name):
        pass


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "sparse.json"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(DataError, match=r"sparse.json: has 1,099,511,627,776 bytes"):
        read_bytes(file)
    file.write_bytes(b"12345")
    assert read_bytes(file, limit=5) == b"12345"
    with pytest.raises(DataError, match="has 5 bytes, and no more than 4"):
        read_bytes(file, limit=4)


def test_an_endless_file_without_a_size_is_not_read_to_its_end() -> None:
    # Its size is told as 0, and its content is longer than that.
    with pytest.raises(DataError, match="no more than 1 are read"):
        read_bytes(Path("/proc/self/status"), limit=1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named_with_the_way_out(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "wide.json"
    file.write_bytes('{"a": 1}'.encode(encoding))
    with pytest.raises(DataError, match=r"UTF-16.*iconv"):
        read_bytes(file)


def test_text_in_another_encoding_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("title: plain\nabout: é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.yaml:2: is not UTF-8"):
        read_text(file)
