"""Files and folders appear when they are complete, and errors leave nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from migbench.errors import UsageError
from migbench.util.files import new_folder, replaced


def write_half(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_file_is_replaced_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    with replaced(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with replaced(path) as partial:
        partial.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert [*path.parent.iterdir()] == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced(path) as partial:
        write_half(partial)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("present", [False, True])
def test_a_folder_appears_whole(tmp_path: Path, present: bool) -> None:
    path = tmp_path / "below" / "folder"
    if present:
        path.mkdir(parents=True)
    with new_folder(path) as unfinished:
        (unfinished / "file").write_text("content")
        assert not (path / "file").exists()
    assert (path / "file").read_text() == "content"
    assert [*path.parent.iterdir()] == [path]
    assert path.stat().st_mode & 0o777 == 0o755


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "folder") as unfinished:
        write_half(unfinished / "file")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_is_not_touched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "folder":
        path.mkdir()
    held = path / "mine" if kind == "folder" else path
    held.write_text("mine")
    with pytest.raises(UsageError, match="is there already"), new_folder(path):
        pytest.fail("nothing is to be written")
    assert held.read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, r"chmod u\+w"),
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "read-only"),
    ],
)
def test_what_cannot_be_written_is_named_by_its_own_name(
    number: int, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    words = rf"scores\.json: cannot be written .*{remedy}"
    with pytest.raises(UsageError, match=words) as refusal, replaced(path) as partial:
        raise OSError(number, "no", str(partial))
    assert ".partial" not in str(refusal.value)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "scores.json").mkdir()
    words = r"scores\.json: cannot be written .*there is a folder"
    with pytest.raises(UsageError, match=words), replaced(tmp_path / "scores.json") as partial:
        partial.write_text("{}")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for new in (replaced, new_folder):
        words = r"cannot be written .*choose another place"
        with pytest.raises(UsageError, match=words), new(tmp_path / "file" / "scores.json"):
            pass


def test_an_error_about_another_file_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), replaced(tmp_path / "file"):
        (tmp_path / "elsewhere").read_text()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_who_may_read_a_new_folder_is_up_to_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "new") as folder:
            (folder / "file").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o666 & ~umask


def test_what_a_killed_writer_left_is_written_anew_and_a_link_is_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("important")
    (tmp_path / "file.partial").symlink_to(victim)
    with replaced(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert victim.read_text() == "important"
