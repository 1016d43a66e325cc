"""Checking the images that an annotation file names: whether they are there and can be shown."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial

import msgspec

from migbench.data import Progress, no_progress
from migbench.data.images import ImageFolder
from migbench.errors import DataError, ModelError
from migbench.messages import ImageFile

MAX_BYTES = 20 * 2**20
"""A larger file is called oversized: many servers accept no more for one image."""

_THREADS = 8


class Fault(StrEnum):
    """What is wrong with an image; only an oversized one can be used all the same."""

    REFUSED = "refused"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    OVERSIZED = "oversized"


class ImageFinding(msgspec.Struct, frozen=True):
    """An image, named as in the annotation file but normalised, and what is wrong with it."""

    image: str
    fault: Fault
    message: str


class ImageReport(msgspec.Struct, frozen=True, kw_only=True):
    """The distinct images of an annotation file, looked up in one folder.

    ``decoded`` says whether all pixels were read, or the headers alone.
    """

    folder: str
    named: int
    decoded: bool
    findings: tuple[ImageFinding, ...]

    @property
    def found(self) -> int:
        """How many of the named images are files in the folder."""
        return self.named - self.number(Fault.MISSING) - self.number(Fault.REFUSED)

    def number(self, fault: Fault) -> int:
        """How many images have this fault."""
        return sum(finding.fault is fault for finding in self.findings)


def check_images(
    names: Collection[str],
    folder: ImageFolder,
    *,
    decode: bool = False,
    progress: Progress = no_progress,
) -> ImageReport:
    """Look at each of these images once, in a few threads; findings are in the order of names."""
    findings = []
    # Pillow warns of what is reported here; a warning for each image would bury the report.
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pool.map(partial(_check_image, folder=folder, decode=decode), names)
        for done, finding in enumerate(found, start=1):
            progress(done, len(names))
            if finding is not None:
                findings.append(finding)
    return ImageReport(
        folder=str(folder.root), named=len(names), decoded=decode, findings=tuple(findings)
    )


def _check_image(name: str, folder: ImageFolder, decode: bool) -> ImageFinding | None:
    try:
        image = folder.file(name)
    except DataError as error:
        return ImageFinding(name, Fault.REFUSED, str(error))
    if image.path is None or not image.path.is_file():
        return ImageFinding(name, Fault.MISSING, f"image {name}: is not in {folder.root}")
    try:
        width, height = image.open().size if decode else image.size()
    except ModelError as error:
        return ImageFinding(name, Fault.UNREADABLE, str(error))
    if excess := _excess(image, width, height):
        return ImageFinding(name, Fault.OVERSIZED, f"image {name}: {excess}")
    return None


def _excess(image: ImageFile, width: int, height: int) -> str:
    """In what respect an image is too large, or nothing."""
    from PIL import Image

    safe = Image.MAX_IMAGE_PIXELS
    if safe is not None and width * height > safe:
        return f"{width} x {height} pixels; Pillow holds more than {safe} in all to be unsafe"
    size = image.path.stat().st_size if image.path else 0
    if size > MAX_BYTES:
        return f"{size} bytes; many servers accept no more than {MAX_BYTES}"
    return ""
