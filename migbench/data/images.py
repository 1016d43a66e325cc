"""Finding a data set's images, and never anything outside its folder."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from migbench.errors import DataError, UsageError
from migbench.messages import ImageFile

PUBLISHED_FOLDER = "MIG-Bench"
ANNOTATION_FILES = ("MIG_data.json", "revised_MIG_bench.json", "MIG_mini.json")


@dataclass(frozen=True)
class ImageFolder:
    """The folder below which image paths are looked up.

    The published paths begin with ``MIG-Bench/``: the folder may be the one that holds
    ``MIG-Bench``, or that one itself under whatever name, as the published archive unpacks.
    """

    root: Path

    def file(self, name: str) -> ImageFile:
        """The image of this normalised path; it need not exist.

        Raises `DataError` where the path, links followed, leads out of the folder, or where the
        file system refuses to look it up.
        """
        below = [name]
        first, _, rest = name.partition("/")
        if rest and first in (PUBLISHED_FOLDER, self._real_root.name):
            below.append(rest)
        for path in below:
            if (found := self._find(path, name)) is not None:
                return ImageFile(name, found)
        return ImageFile(name, self._real_root / name)

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()

    def _find(self, path: str, name: str) -> Path | None:
        """The file at this path below the root, links followed, or None where there is none."""
        try:
            # Path.resolve is slower, and this is done for every image of every question.
            real = Path(os.path.realpath(self._real_root / path))
            if not real.is_relative_to(self._real_root):
                raise DataError(
                    f"image {name}: leads out of {self.root}; "
                    "pass --images with the folder that really holds the images"
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


def locate_data(data: Path, images: Path | None = None) -> DataLocation:
    """Find the annotation file and the image folder.

    ``data`` is an annotation file or a folder that holds one; images are looked up below
    ``images``, else below that folder. Raises `UsageError` where this is not clear.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: is not a folder")
    if data.exists() and not data.is_dir():
        return DataLocation(data, ImageFolder(images or data.parent))
    if not data.is_dir():
        raise UsageError(f"{data}: no such file or folder")
    found = [data / name for name in ANNOTATION_FILES if (data / name).exists()]
    if len(found) != 1:
        what = (
            f"holds {', '.join(path.name for path in found)}" if found else "holds no annotations"
        )
        raise UsageError(f"{data}: {what}; name the annotation file itself")
    return DataLocation(found[0], ImageFolder(images or data))
