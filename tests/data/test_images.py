"""Finding images: inside the data folder, in any of the places where it may begin, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command_line import migbench
from support.data_files import record, write_annotations, write_images

from migbench.data.images import ANNOTATION_FILES, ImageFolder, ImageSearch, locate_data
from migbench.errors import DataError, ModelError, UsageError
from migbench.messages import ImageFile

PUBLISHED = "MIG-Bench/images/common/a.png"


def test_an_image_is_found_below_the_folder(tmp_path: Path) -> None:
    write_images(tmp_path, ["images/a.png"])
    image = ImageFolder(tmp_path).file("images/a.png")
    assert image == ImageFile("images/a.png", tmp_path.resolve() / "images/a.png")


@pytest.mark.parametrize("folder", ["", "MIG-Bench", "MIG-Bench/images/.."])
def test_the_folder_may_hold_mig_bench_or_be_it(tmp_path: Path, folder: str) -> None:
    write_images(tmp_path, [PUBLISHED])
    found = ImageFolder(tmp_path / folder).file(PUBLISHED)
    assert found.path == tmp_path.resolve() / PUBLISHED
    assert found.name == PUBLISHED


def test_the_folder_may_be_mig_bench_under_another_name(tmp_path: Path) -> None:
    write_images(tmp_path / "anything", ["images/common/a.png"])
    found = ImageFolder(tmp_path / "anything").file(PUBLISHED)
    assert found.path == tmp_path.resolve() / "anything/images/common/a.png"


def test_paths_of_a_custom_file_may_begin_with_the_folders_own_name(tmp_path: Path) -> None:
    write_images(tmp_path / "mine", ["a.png"])
    assert ImageFolder(tmp_path / "mine").file("mine/a.png").size() == (8, 6)


def test_no_other_leading_folder_is_left_off(tmp_path: Path) -> None:
    write_images(tmp_path / "data", ["a.png"])
    path = ImageFolder(tmp_path / "data").file("images/a.png").path
    assert path is not None
    assert not path.exists()


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    write_images(tmp_path, ["real/a.png"])
    (tmp_path / "images").symlink_to("real")
    assert ImageFolder(tmp_path).file("images/a.png").path == tmp_path.resolve() / "real/a.png"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, exists: bool) -> None:
    if exists:
        write_images(tmp_path / "outside", ["a.png"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"image images/a\.png: leads out of .*--images"):
        ImageFolder(tmp_path / "data").file("images/a.png")


def linked_data(folder: Path) -> Path:
    """A data set whose images are links into a cache under other names; gives the cache."""
    write_images(folder / "cache", ["0123", "4567"], kind="PNG")
    write_annotations(folder / "data" / "data.json", record())
    (folder / "data" / "images").mkdir()
    for name, blob in (("a", "0123"), ("b", "4567")):
        (folder / "data" / "images" / f"{name}.png").symlink_to(folder / "cache" / blob)
    return folder / "cache"


def test_links_out_of_the_folder_are_followed_where_the_user_says_so(tmp_path: Path) -> None:
    cache = linked_data(tmp_path)
    data = tmp_path / "data" / "data.json"
    location = locate_data(data, ImageSearch(follow_links=True))
    assert location.image("images/a.png").path == (cache / "0123").resolve()
    with pytest.raises(DataError, match="--follow-links"):
        locate_data(data).image("images/a.png")


def test_links_into_the_named_folder_are_followed_and_no_others(tmp_path: Path) -> None:
    cache = linked_data(tmp_path)
    write_images(tmp_path, ["secret.png"])
    (tmp_path / "data" / "images" / "c.png").symlink_to(tmp_path / "secret.png")
    write_images(tmp_path / "data", ["images/d.png"])
    location = locate_data(tmp_path / "data" / "data.json", cache)
    assert location.image("images/b.png").path == (cache / "4567").resolve()
    for name in ("images/c.png", "images/d.png", "images/none.png"):
        path = location.image(name).path
        assert path is not None
        assert not path.exists()


def test_links_are_followed_to_regular_files_alone(tmp_path: Path) -> None:
    linked_data(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("p", tmp_path / "pipe"), ("z", Path("/dev/zero")), ("f", tmp_path)):
        (tmp_path / "data" / "images" / name).symlink_to(target)
        folder = ImageFolder(tmp_path / "data", follow_links=True)
        assert folder.file(f"images/{name}").path == folder.root.resolve() / "images" / name
        with pytest.raises(ModelError):
            folder.file(f"images/{name}").read()


def test_data_check_tells_what_is_refused_and_takes_both_ways_out(tmp_path: Path) -> None:
    cache = linked_data(tmp_path)
    data = tmp_path / "data" / "data.json"
    refused = migbench("data", "check", data)
    assert refused.status == 2
    assert "--follow-links" in refused.out
    assert migbench("data", "check", data, "--images", cache).status == 0
    assert migbench("data", "check", data, "--follow-links").status == 0


def test_a_stored_run_is_no_permission_to_follow_links(tmp_path: Path) -> None:
    linked_data(tmp_path)
    run, page = tmp_path / "run", tmp_path / "page.html"
    made = migbench(
        *("run", "--model", "whole-image", "--data", tmp_path / "data" / "data.json"),
        *("--follow-links", "--out", run),
    )
    assert made.status == 0
    assert migbench("report", run, "--out", page).status == 0
    assert "data:image/jpeg;" not in page.read_text(encoding="utf-8")
    assert migbench("report", run, "--out", page, "--follow-links").status == 0
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;") == 2


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write_images(tmp_path / "real", ["images/a.png"])
    (tmp_path / "data").symlink_to("real")
    assert ImageFolder(tmp_path / "data").file("images/a.png").size() == (8, 6)


@pytest.mark.parametrize("name", ["x" * 5000, "loop"])
def test_a_name_that_the_file_system_refuses_is_an_error_in_words(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="cannot be looked up"):
        ImageFolder(tmp_path).file(name)


# --- --data and --images --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANNOTATION_FILES)
def test_a_folder_stands_for_the_annotation_file_in_it(tmp_path: Path, name: str) -> None:
    file = write_annotations(tmp_path / name, record())
    location = locate_data(tmp_path)
    assert location.annotations == file
    assert location.images == ImageFolder(tmp_path)


def test_images_lie_beside_the_annotation_file_unless_it_is_said_where(tmp_path: Path) -> None:
    file = write_annotations(tmp_path / "mine.json", record())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert locate_data(file).images == ImageFolder(tmp_path)
    assert locate_data(file, elsewhere).images == ImageFolder(elsewhere)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        locate_data(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nowhere: is not a folder"):
        locate_data(tmp_path, tmp_path / "nowhere")


def test_a_folder_without_annotations_asks_for_the_file(tmp_path: Path) -> None:
    write_annotations(tmp_path / "mine.json", record())
    with pytest.raises(UsageError, match="holds no annotations; name the annotation file itself"):
        locate_data(tmp_path)


def test_a_folder_with_two_versions_asks_which(tmp_path: Path) -> None:
    for name in ANNOTATION_FILES[:2]:
        write_annotations(tmp_path / name, record())
    with pytest.raises(UsageError, match=r"holds MIG_data\.json, revised_MIG_bench\.json; name"):
        locate_data(tmp_path)
