"""Downloading the data set, from a stand-in for the hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import msgspec
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from support.archive_files import NAMES, below, files_in, write_zip
from support.command_line import migbench
from support.data_files import record, write_annotations, write_images

from migbench.data.download import Download, download
from migbench.errors import DataError, UsageError

COMMIT = "3c3615aa1b30a519b49d52333d5351a6813b8b48"


@dataclass
class Hub:
    """A stand-in for the hub: what it holds lies in ``folder``; ``failures`` are raised first."""

    folder: Path
    calls: list[dict[str, Any]] = field(default_factory=list)
    asked_revision: str | None = "never asked"
    dataset_info_fails: BaseException | None = None
    snapshot_fails: BaseException | None = None
    lost: Iterable[str] = ()

    def dataset_info(self, repo_id: str, *, revision: str | None = None) -> SimpleNamespace:
        assert repo_id == "Michael4933/MIG-Bench"
        self.asked_revision = revision
        if self.dataset_info_fails:
            raise self.dataset_info_fails
        files = [SimpleNamespace(rfilename=name) for name in sorted(files_in(self.folder))]
        return SimpleNamespace(sha=COMMIT, siblings=files)

    def snapshot_download(self, repo_id: str, *, local_dir: Path, **arguments: Any) -> str:
        self.calls.append({"repo_id": repo_id, **arguments})
        shutil.copytree(self.folder, local_dir, dirs_exist_ok=True)
        for name in self.lost:
            (local_dir / name).unlink()
        if self.snapshot_fails:
            raise self.snapshot_fails
        return str(local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, holding the data set as it is published."""
    hub = Hub(tmp_path / "hub")
    write_annotations(hub.folder / "MIG_data.json", record(images=[f"./{name}" for name in NAMES]))
    write_zip(hub.folder / "images.zip", below(""))
    (hub.folder / "README.md").write_text("MIG-Bench")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


@pytest.mark.parametrize("name", ["MIG", "MIG-Bench", "new/folders/down"])
def test_a_downloaded_folder_passes_the_check(hub: Hub, tmp_path: Path, name: str) -> None:
    done = migbench("data", "download", tmp_path / name)
    assert done.status == 0
    assert "3 images, 3 of them unpacked now" in done.out
    assert f"Michael4933/MIG-Bench at {COMMIT}" in done.out
    assert migbench("data", "check", tmp_path / name, "--decode").status == 0


def test_the_newest_revision_is_resolved_to_a_commit(hub: Hub, tmp_path: Path) -> None:
    fetched = download(tmp_path / "MIG")
    assert hub.asked_revision is None
    assert hub.calls == [
        {"repo_id": "Michael4933/MIG-Bench", "repo_type": "dataset", "revision": COMMIT}
    ]
    assert fetched == Download(
        repository="Michael4933/MIG-Bench",
        revision=COMMIT,
        annotations=str(tmp_path / "MIG" / "MIG_data.json"),
        version="custom",
        images=3,
        unpacked=3,
    )


def test_a_revision_is_pinned_by_the_option(hub: Hub, tmp_path: Path) -> None:
    done = migbench("data", "download", tmp_path / "MIG", "--revision", "v1", "--json", "-")
    assert hub.asked_revision == "v1"
    assert msgspec.json.decode(done.out, type=Download).revision == COMMIT


def test_the_same_command_again_unpacks_nothing_again(hub: Hub, tmp_path: Path) -> None:
    download(tmp_path / "MIG")
    assert download(tmp_path / "MIG").unpacked == 0


def test_images_may_come_in_several_archives_or_in_none(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "images.zip").unlink()
    write_zip(hub.folder / "diff.zip", {"diff/1.png": b"1", "diff/2.png": b"2"})
    write_images(hub.folder, ["images/ot/1.png"])
    fetched = download(tmp_path / "MIG")
    assert (fetched.images, fetched.unpacked) == (3, 2)


def test_archives_that_are_not_the_hubs_are_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "MIG").mkdir()
    (tmp_path / "MIG" / "mine.zip").write_text("not an archive")
    assert download(tmp_path / "MIG").images == 3


def response_error(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    # The HTTP library differs from version to version of the hub's; only this much of it is used.
    response: Any = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind("Not found.\nRequest ID: 1", response=response)


TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]

FAILURES = {
    "no connection": (
        OSError("Name or service not known"),
        "Name or service not known.*same command",
    ),
    "broken off": (
        TRANSPORT_ERROR("peer closed connection"),
        "peer closed connection.*same command",
    ),
    "disk full": (
        OSError(28, "No space left on device"),
        "No space left.*check the connection and",
    ),
    "odd name": (ValueError("Invalid rev id: .."), "Invalid rev id"),
    "server down": (response_error(HfHubHTTPError, 503), r"\(Not found\.\); check the connection"),
    "no revision": (
        response_error(RevisionNotFoundError, 404),
        "no revision 'v9'; its commits are listed at https://.*/commits/main",
    ),
    "no data set": (
        response_error(RepositoryNotFoundError, 401),
        "no such data set; if it has become",
    ),
}


@pytest.mark.parametrize(("failure", "message"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("when", ["dataset_info_fails", "snapshot_fails"])
def test_failures_of_the_hub_are_told_with_the_way_out(
    hub: Hub, tmp_path: Path, failure: BaseException, message: str, when: str
) -> None:
    setattr(hub, when, failure)
    with pytest.raises(DataError, match=message) as told:
        download(tmp_path / "MIG", "v9")
    assert str(told.value).startswith("Michael4933/MIG-Bench: ")
    assert "Request ID" not in str(told.value)


def test_offline_the_command_ends_at_once_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "migbench", "data", "download", str(tmp_path / "MIG")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("migbench: Michael4933/MIG-Bench: cannot be downloaded")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "MIG").exists()


def test_a_snapshot_that_lacks_a_file_is_not_taken_for_whole(hub: Hub, tmp_path: Path) -> None:
    # What the hub's library returns when the connection fails and the folder is not empty.
    hub.lost = ["images.zip"]
    with pytest.raises(DataError, match=r"stopped before images\.zip was there; give the same"):
        download(tmp_path / "MIG")


def test_a_revision_without_annotations_is_refused(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "MIG_data.json").unlink()
    with pytest.raises(DataError, match=r"holds no MIG_data\.json; choose an earlier commit"):
        download(tmp_path / "MIG")


def test_images_that_no_archive_holds_are_counted(hub: Hub, tmp_path: Path) -> None:
    write_zip(hub.folder / "images.zip", below("", {NAMES[0]: b"1", NAMES[1]: b"2"}))
    with pytest.raises(DataError, match=rf"1 of 3 images .*\(images\.zip\), such as {NAMES[2]}"):
        download(tmp_path / "MIG")


def test_a_file_is_no_folder_to_download_into(tmp_path: Path) -> None:
    (tmp_path / "MIG").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        download(tmp_path / "MIG")
    assert migbench("data", "download", tmp_path / "MIG").status == 2


def test_the_hubs_library_is_not_loaded_before_it_is_needed() -> None:
    program = (
        "import sys, migbench.cli.data, migbench.data.download as d; print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "migbench.data.download" in done.stdout
    assert "huggingface_hub" not in done.stdout
