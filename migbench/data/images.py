"""Finding a data set's images, and nothing outside its folder unless its links are the user's."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from migbench.errors import DataError, UsageError
from migbench.messages import ImageFile

PUBLISHED_FOLDER = "MIG-Bench"
ANNOTATION_FILES = ("MIG_data.json", "revised_MIG_bench.json", "MIG_mini.json")


@dataclass(frozen=True)
class ImageSearch:
    """Where a user says that images are: below a folder, or where the data are.

    With ``follow_links``, symbolic links in there may lead anywhere: hubs' caches and data sets
    spread over disks link every file.
    """

    folder: Path | None = None
    follow_links: bool = False


Images = Path | ImageSearch | None
"""What ``--images`` and ``--follow-links`` say together; a path is a folder without links."""


def image_search(images: Images) -> ImageSearch:
    """The long form of what says where images are."""
    return images if isinstance(images, ImageSearch) else ImageSearch(images)


@dataclass(frozen=True)
class ImageFolder:
    """The folder below which image paths are looked up.

    The published paths begin with ``MIG-Bench/``: the folder may be the one that holds
    ``MIG-Bench``, or that one itself under whatever name, as the published archive unpacks.

    Symbolic links are followed within the folder, or with ``follow_links`` to wherever they lead.
    ``linked_from`` is a further folder whose links are followed into this one, where it holds the
    files themselves under other names.
    """

    root: Path
    follow_links: bool = False
    linked_from: Path | None = field(default=None, compare=False)

    def file(self, name: str) -> ImageFile:
        """The image of this normalised path; it need not exist.

        Raises `DataError` where the path, links followed, leads out of the folder and that is not
        allowed, or where the file system refuses to look it up.
        """
        below = [name]
        first, _, rest = name.partition("/")
        if rest and first in (PUBLISHED_FOLDER, self._real_root.name):
            below.append(rest)
        for path in below:
            if (found := self._find(self._real_root / path, name)) is not None:
                return ImageFile(name, found)
        for path in below if self.linked_from else ():
            if (found := self._find(self._linked_from / path, name)) is not None:
                return ImageFile(name, found)
        return ImageFile(name, self._real_root / name)

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()

    @cached_property
    def _linked_from(self) -> Path:
        assert self.linked_from is not None
        return self.linked_from.resolve()

    def _find(self, path: Path, name: str) -> Path | None:
        """The file at this path, links followed, or None where there is none."""
        try:
            # Path.resolve is slower, and this is done for every image of every question.
            real = Path(os.path.realpath(path))
            if not real.is_relative_to(self._real_root) and not self.follow_links:
                if self.linked_from and not path.is_relative_to(self._real_root):
                    return None  # A file beside the annotations, which are not where images are.
                raise DataError(
                    f"image {name}: leads out of {self.root}, to {real}; pass --follow-links if "
                    "its links are yours, or --images with the folder that they lead to"
                )
            return real if stat.S_ISREG(real.stat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DataError(
                f"image {name}: cannot be looked up in {self.root} ({error})"
            ) from error


@dataclass(frozen=True)
class DataLocation:
    """What ``--data`` and ``--images`` mean together: an annotation file, maybe an image folder."""

    annotations: Path
    images: ImageFolder | None

    def image(self, name: str) -> ImageFile:
        """The image of this name; without a path where there is no image folder."""
        return self.images.file(name) if self.images else ImageFile(name)


def locate_data(data: Path, images: Images = None) -> DataLocation:
    """Find the annotation file and the image folder.

    ``data`` is an annotation file or a folder that holds one; images are looked up below
    ``images``, else below that folder. Raises `UsageError` where this is not clear.
    """
    search = image_search(images)
    if search.folder is not None and not search.folder.is_dir():
        raise UsageError(f"--images {search.folder}: is not a folder")
    if data.exists() and not data.is_dir():
        return DataLocation(data, folder_of(search, data.parent))
    if not data.is_dir():
        raise UsageError(f"{data}: no such file or folder")
    found = [data / name for name in ANNOTATION_FILES if (data / name).exists()]
    if len(found) != 1:
        what = (
            f"holds {', '.join(path.name for path in found)}" if found else "holds no annotations"
        )
        raise UsageError(f"{data}: {what}; name the annotation file itself")
    return DataLocation(found[0], folder_of(search, data))


def folder_of(search: ImageSearch, beside: Path) -> ImageFolder:
    """The folder of the images that the annotations in the folder ``beside`` name."""
    if search.folder is None:
        return ImageFolder(beside, search.follow_links)
    return ImageFolder(search.folder, search.follow_links, linked_from=beside)
