"""Fetching the real data set from its hub, and unpacking its images.

The hub's repository holds ``MIG_data.json``, whose image paths begin with ``MIG-Bench/images/``,
and the images as an archive whose paths begin further down. Afterwards the folder is one that
``--data`` takes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from migbench.data import Progress, no_progress
from migbench.data.annotations import Annotations, read_annotations
from migbench.data.archives import SUFFIXES, unpack
from migbench.data.images import ImageFolder
from migbench.errors import DataError, UsageError

REPOSITORY = "Michael4933/MIG-Bench"
ANNOTATIONS = "MIG_data.json"


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched. ``revision`` is the commit, whatever name was asked for.

    ``images`` are the distinct images that the annotation file names, all of them there;
    ``unpacked`` are those among them that had to be written now.
    """

    repository: str
    revision: str
    annotations: str
    version: str
    images: int
    unpacked: int


class _Snapshot(msgspec.Struct, frozen=True):
    """A revision of the repository: its commit, and the paths of its files."""

    commit: str
    files: tuple[str, ...]


def download(
    folder: Path, revision: str | None = None, *, progress: Progress = no_progress
) -> Download:
    """Fetch a revision (a commit, tag or branch; the newest without one) into ``folder``.

    What is there already is not fetched or unpacked again, so the same call goes on after an
    interruption. Raises `DataError` where the hub cannot be reached, has no such revision or holds
    something else than expected, `UsageError` where ``folder`` cannot be one.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the data set")
    snapshot = _fetch(folder, revision)
    if ANNOTATIONS not in snapshot.files:
        raise DataError(
            f"{REPOSITORY} at {snapshot.commit}: holds no {ANNOTATIONS}; "
            "choose an earlier commit with --revision"
        )
    annotations = read_annotations(folder / ANNOTATIONS)
    archives = [folder / file for file in snapshot.files if file.endswith(SUFFIXES)]
    images, unpacked = _unpack_all(archives, annotations, ImageFolder(folder), progress)
    return Download(
        repository=REPOSITORY,
        revision=snapshot.commit,
        annotations=str(annotations.path),
        version=annotations.version,
        images=images,
        unpacked=unpacked,
    )


def _unpack_all(
    archives: list[Path], annotations: Annotations, folder: ImageFolder, progress: Progress
) -> tuple[int, int]:
    """Number of images, and how many of them were written. Raises `DataError` if one is missing."""
    wanted = {name: None for each in annotations.instances for name in each.images}
    written = sum(
        unpack(archive, wanted, folder, progress=progress).written for archive in archives
    )
    missing = [name for name in wanted if not folder.file(name).is_there]
    if missing:
        names = ", ".join(archive.name for archive in archives) or "no archive"
        raise DataError(
            f"{folder.root}: {len(missing)} of {len(wanted)} images are in none of the hub's files "
            f"({names}), such as {missing[0]}; choose another commit with --revision"
        )
    return len(wanted), written


def _fetch(folder: Path, revision: str | None) -> _Snapshot:
    """Bring the repository's files into ``folder``. Raises `DataError` with the way out."""
    # Slow to import, and needed by this command alone.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The HTTP library, and so its base error, differs from version to version of the hub's.
    http_errors: tuple[type[Exception], ...] = HfHubHTTPError.__bases__
    failures: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *http_errors)
    try:
        # Asked first, since a snapshot without a connection is whatever the folder happens to hold.
        found = HfApi().dataset_info(REPOSITORY, revision=revision)
        commit = found.sha or revision or "main"
        snapshot_download(REPOSITORY, repo_type="dataset", revision=commit, local_dir=folder)
    except RevisionNotFoundError as error:
        raise DataError(
            f"{REPOSITORY}: the hub has no revision {revision!r}; its commits are listed at "
            f"https://huggingface.co/datasets/{REPOSITORY}/commits/main"
        ) from error
    except RepositoryNotFoundError as error:
        raise DataError(
            f"{REPOSITORY}: the hub shows no such data set; if it has become private, "
            "log in with `hf auth login`"
        ) from error
    except failures as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{REPOSITORY}: cannot be downloaded into {folder} ({reason}); check the connection "
            "and the disk, then give the same command: it goes on where it stopped"
        ) from error
    files = tuple(file.rfilename for file in found.siblings or ())
    if absent := [file for file in files if not (folder / file).is_file()]:
        raise DataError(
            f"{REPOSITORY}: the download stopped before {absent[0]} was there; "
            "give the same command: it goes on where it stopped"
        )
    return _Snapshot(commit, files)
