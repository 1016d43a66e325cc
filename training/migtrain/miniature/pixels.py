"""Pixels: an image resized and cut into patches, as the published image processor does it.

Patches travel as bytes, and are normalised where the model is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migbench.boxes import SmartResized
from migbench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Grid(NamedTuple):
    """Rows and columns of an image's patches."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Pixels:
    """How images are resized, cut into patches and normalised: ``preprocessor_config.json``."""

    min_pixels: int
    max_pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    patch: int = 14
    merge: int = 2
    frames: int = 2

    @classmethod
    def read(cls, checkpoint: Path) -> Pixels:
        """The settings of a checkpoint folder. Raises `DataError`."""
        path = checkpoint / "preprocessor_config.json"
        try:
            content = json.loads(path.read_bytes())
            size = content.get("size") or {}
            return cls(
                min_pixels=content.get("min_pixels") or size["shortest_edge"],
                max_pixels=content.get("max_pixels") or size["longest_edge"],
                mean=tuple(content["image_mean"]),
                std=tuple(content["image_std"]),
                patch=content["patch_size"],
                merge=content["merge_size"],
                frames=content["temporal_patch_size"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: does not say how images are prepared ({type(error).__name__}: {error})"
            ) from error

    def patches(self, image: Image) -> tuple[NDArray[np.uint8], Grid]:
        """The patches of an image in Qwen2-VL's order: those that are merged lie together.

        One a row: channels, rows, columns; not yet normalised. Raises ValueError for an image 200
        times as long as it is wide.
        """
        from PIL.Image import Resampling

        canvas = SmartResized(
            factor=self.patch * self.merge, min_pixels=self.min_pixels, max_pixels=self.max_pixels
        ).canvas(*image.size)
        width, height = int(canvas.width), int(canvas.height)
        levels = np.asarray(image.resize((width, height), Resampling.BICUBIC))
        grid = Grid(height // self.patch, width // self.patch)
        blocks = levels.reshape(
            grid.rows // self.merge,
            self.merge,
            self.patch,
            grid.columns // self.merge,
            self.merge,
            self.patch,
            3,
        )
        ordered = blocks.transpose(0, 3, 1, 4, 6, 2, 5)
        return ordered.reshape(grid.rows * grid.columns, 3 * self.patch**2), grid

    def tokens(self, grid: Grid) -> int:
        """How many tokens of the prompt an image becomes."""
        rows, columns = self.cells(grid)
        return rows * columns

    def cells(self, grid: Grid) -> tuple[int, int]:
        """Rows and columns of an image's tokens."""
        return grid.rows // self.merge, grid.columns // self.merge

    def normalise(self, patches: Tensor) -> Tensor:
        """Patches as the model takes them: float32, normalised, the one frame repeated."""
        import torch

        mean, std = (
            torch.tensor(each, dtype=torch.float32, device=patches.device)[:, None]
            for each in (self.mean, self.std)
        )
        levels = patches.view(-1, 3, self.patch**2).to(torch.float32) * (1 / 255)
        frame = ((levels - mean) / std).unsqueeze(2)
        return frame.expand(-1, -1, self.frames, -1).reshape(len(patches), -1)
