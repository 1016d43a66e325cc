"""A page's images: thumbnails inside of it or in a folder beside it; each is made once."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import get_ident
from urllib.parse import quote

from migbench.errors import ModelError, UsageError
from migbench.messages import ImageFile, Size
from migbench.reporting.html.gathering import WantedPicture
from migbench.reporting.html.records import Picture
from migbench.util.files import errors_named

MEGABYTE = 1_000_000
QUALITY = 82
"""Of thumbnails, in JPEG."""


Watch = Callable[[Iterable[Picture], int], Iterable[Picture]]
"""Passes pictures on as they are made, and is told how many there will be."""


def _unwatched(pictures: Iterable[Picture], total: int) -> Iterable[Picture]:
    return pictures


def thumbnail(file: ImageFile, side: int) -> bytes:
    """The image as a JPEG whose longer side has at most ``side`` pixels. Raises `ModelError`."""
    image = file.open()
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    # Full colour resolution: thin red boxes, which some tasks draw, would else be washed out.
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def embedded(
    wanted: Sequence[WantedPicture], *, side: int, limit: int, watch: Watch = _unwatched
) -> list[Picture]:
    """Pictures with their thumbnails inside the page.

    Raises `UsageError` as soon as they take more than ``limit`` bytes, saying what to do.
    """

    def made(picture: WantedPicture) -> Picture:
        content = base64.b64encode(thumbnail(picture.file, side)).decode()
        return _picture(picture, f"data:image/jpeg;base64,{content}")

    pictures: list[Picture] = []
    total = 0
    with closing(_in_parallel(made, wanted)) as making:
        for picture in watch(making, len(wanted)):
            pictures.append(picture)
            total += len(picture.thumbnail or "")
            if total > limit:
                expected = total * len(wanted) / len(pictures) / MEGABYTE
                raise UsageError(
                    f"the images would make a page of about {expected:,.0f} MB (the limit is "
                    f"{limit / MEGABYTE:,.0f}): keep them beside the page with --images link, make "
                    f"them smaller with --thumbnail {side // 2}, or allow it with --max-size"
                )
    return pictures


def linked(
    wanted: Sequence[WantedPicture], *, side: int, page: Path, watch: Watch = _unwatched
) -> list[Picture]:
    """Pictures with their thumbnails in a folder beside the page; those there are made no more."""
    folder = page.with_name(f"{page.stem}_files")
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)

    def made(picture: WantedPicture) -> Picture:
        path = folder / f"{picture.file.digest()[:16]}-{side}.jpg"
        if not picture.file.is_there:
            picture.file.read()  # Says what is the matter.
        if not path.is_file():
            content = thumbnail(picture.file, side)
            partial = path.with_suffix(f".{os.getpid()}-{get_ident()}.partial")
            with errors_named(path, partial):
                try:
                    partial.write_bytes(content)
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
        return _picture(picture, f"{quote(folder.name)}/{path.name}")

    return [*watch(_in_parallel(made, wanted), len(wanted))]


def _sweep(folder: Path) -> None:
    """Take away what killed processes have left; what a living one writes is left alone."""
    for path in folder.glob("*.partial"):
        process = path.suffixes[-2].removeprefix(".").partition("-")[0]
        if not (process.isdecimal() and _is_alive(int(process))):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _in_parallel(
    make: Callable[[WantedPicture], Picture], wanted: Sequence[WantedPicture]
) -> Generator[Picture, None, None]:
    """The pictures in their order; those that cannot be made say why."""

    def made(picture: WantedPicture) -> Picture:
        if picture.problem:
            return without_thumbnail(picture, picture.problem)
        try:
            return make(picture)
        except ModelError as error:
            return without_thumbnail(picture, str(error))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from pool.map(made, wanted)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _picture(wanted: WantedPicture, thumbnail: str) -> Picture:
    size = wanted.file.size()
    return Picture(name=wanted.file.name, width=size.width, height=size.height, thumbnail=thumbnail)


def without_thumbnail(wanted: WantedPicture, problem: str) -> Picture:
    """A picture that cannot be shown, at its aspect where that is known."""
    size: Size | None = wanted.size
    with suppress(ModelError):
        size = wanted.file.size()
    return Picture(
        name=wanted.file.name,
        width=size.width if size else None,
        height=size.height if size else None,
        problem=problem,
    )
