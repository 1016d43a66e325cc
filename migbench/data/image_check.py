"""Checking the images that an annotation file names: whether they are there and can be shown."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial

import msgspec

from migbench.data import Progress, no_progress
from migbench.data.images import ImageFolder
from migbench.errors import DataError, ModelError
from migbench.messages import ImageFile, Size

MAX_BYTES = 20 * 2**20
"""A larger file is called oversized: many servers accept no more for one image."""

MAX_ASPECT = 200
"""Of the longer side to the shorter one. `smart_resize`, the rule of Qwen2-VL's image processor and
of what descends from it, raises an error beyond."""

MIN_SIDE = 28
"""Pixels: a patch of Qwen2-VL's vision encoder after merging, and the largest of those in use."""

_THREADS = 8


class Fault(StrEnum):
    """What is wrong with an image, or worth knowing of it; the worst come first."""

    REFUSED = "refused"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    THIN = "thin"
    """Of an aspect ratio that some processors refuse: not every model can be shown it."""
    OVERSIZED = "oversized"
    """A file of a size that some servers refuse."""
    SMALL = "small"
    """Smaller than a patch, which some servers refuse."""
    CONVERTED = "converted"
    """Shown by every adapter, but otherwise by other programs: servers are sent a PNG of it."""


UNUSABLE = (Fault.MISSING, Fault.UNREADABLE, Fault.REFUSED)
"""No model can be shown such an image."""

LIMITING = (Fault.THIN,)
"""Some models can be shown such an image, and some cannot."""


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
    findings: list[ImageFinding] = []
    # Pillow warns of what is reported here; a warning for each image would bury the report.
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pool.map(partial(_check_image, folder=folder, decode=decode), names)
        for done, several in enumerate(found, start=1):
            progress(done, len(names))
            findings += several
    return ImageReport(
        folder=str(folder.root), named=len(names), decoded=decode, findings=tuple(findings)
    )


def _check_image(name: str, folder: ImageFolder, decode: bool) -> list[ImageFinding]:
    try:
        image = folder.file(name)
    except DataError as error:
        return [ImageFinding(name, Fault.REFUSED, str(error))]
    if not image.is_there:
        return [ImageFinding(name, Fault.MISSING, f"image {name}: is not in {folder.root}")]
    try:
        size = Size(*image.open().size) if decode else image.size()
        traits = [*_traits(image, size)]
    except ModelError as error:
        return [ImageFinding(name, Fault.UNREADABLE, str(error))]
    return [ImageFinding(name, fault, f"image {name}: {words}") for fault, words in traits]


def _traits(image: ImageFile, size: Size) -> Iterator[tuple[Fault, str]]:
    """What is worth knowing of an image that can be decoded, in words that follow its name."""
    shorter, longer = sorted(size)
    if longer > MAX_ASPECT * shorter:
        yield (
            Fault.THIN,
            f"{size.width} x {size.height} pixels, an aspect ratio of {longer / shorter:.0f}; "
            f"processors of the Qwen family refuse more than {MAX_ASPECT}, with the adapters "
            "transformers, vllm and lmms-eval and on servers: pad or cut it",
        )
    if shorter < MIN_SIDE:
        yield (
            Fault.SMALL,
            f"{size.width} x {size.height} pixels; the adapters transformers and vllm enlarge it, "
            f"servers and lmms-eval may refuse sides under {MIN_SIDE}",
        )
    length = image.path.stat().st_size if image.path else 0
    if length > MAX_BYTES:
        yield (
            Fault.OVERSIZED,
            f"{length} bytes; many servers (adapter openai) accept no more than {MAX_BYTES}",
        )
    if difference := image.difference():
        yield (
            Fault.CONVERTED,
            f"{difference} (decoders differ, so the adapter openai sends a PNG of it)",
        )
