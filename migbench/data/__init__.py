"""The data set: annotation files, image folders, their inspection and download."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called as long work goes on, with how much is done and how much there is in all."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""
