"""Making archives of a data set's images for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

NAMES = ("MIG-Bench/images/diff/1.png", "MIG-Bench/images/diff/2.png", "MIG-Bench/images/ot/1.png")


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), shade).save(file, "PNG")
    return file.getvalue()


CONTENTS = {name: png(shade) for shade, name in enumerate(NAMES)}


def write_zip(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, contents: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def below(prefix: str, contents: dict[str, bytes] = CONTENTS) -> dict[str, bytes]:
    """The same files with paths that begin further down, or higher up."""
    return {prefix + name.removeprefix("MIG-Bench/"): data for name, data in contents.items()}


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
