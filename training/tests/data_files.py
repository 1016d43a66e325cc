"""Image files for records to name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image


def write_images(root: Path, names: Iterable[str], size: tuple[int, int] = (4, 4)) -> None:
    """Write plain images under these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "gray").save(path)
