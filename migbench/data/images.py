"""Finding a data set's images, and never anything outside its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from migbench.errors import DataError, UsageError
from migbench.messages import ImageFile

ANNOTATION_FILES = ("MIG_data.json", "revised_MIG_bench.json", "MIG_mini.json")


@dataclass(frozen=True)
class ImageFolder:
    """The folder below which image paths are looked up.

    The published paths begin with ``MIG-Bench/``: the folder may be the one that holds
    ``MIG-Bench``, or that one itself.
    """

    root: Path

    def file(self, name: str) -> ImageFile:
        """The image of this normalised path; it need not exist.

        Raises `DataError` where the path, links followed, leads out of the folder.
        """
        root = self.root.resolve()
        below = [root / name]
        first, _, rest = name.partition("/")
        if rest and first == root.name:
            below.append(root / rest)
        for path in below:
            resolved = path.resolve()
            if not resolved.is_relative_to(root):
                raise DataError(
                    f"image {name}: leads out of {self.root}; "
                    "pass --images with the folder that really holds the images"
                )
            if resolved.is_file():
                return ImageFile(name, resolved)
        return ImageFile(name, below[0])


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
    if data.is_file():
        return DataLocation(data, ImageFolder(images or data.parent))
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such file or folder")
    found = [data / name for name in ANNOTATION_FILES if (data / name).is_file()]
    if len(found) != 1:
        what = (
            f"holds {', '.join(path.name for path in found)}" if found else "holds no annotations"
        )
        raise UsageError(f"--data {data}: {what}; name the annotation file itself")
    return DataLocation(found[0], ImageFolder(images or data))
