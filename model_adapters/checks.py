"""Checks of settings that several adapters have."""

from __future__ import annotations

from migbench.messages import AdapterError

__all__ = ["is_positive", "require_pixel_bounds", "require_positive"]


def is_positive(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and value >= 1


def require_positive(**settings: int | None) -> None:
    """Raise `AdapterError` for a setting that is given and is not `is_positive`."""
    for name, value in settings.items():
        if value is not None and not is_positive(value):
            raise AdapterError(f"{name} must be a whole number of at least 1, not {value!r}")


def require_pixel_bounds(min_pixels: int | None, max_pixels: int | None) -> None:
    """Raise `AdapterError` for bounds that are not positive, or in the wrong order."""
    require_positive(min_pixels=min_pixels, max_pixels=max_pixels)
    if min_pixels is not None and max_pixels is not None and min_pixels > max_pixels:
        raise AdapterError(f"--min-pixels ({min_pixels}) exceeds --max-pixels ({max_pixels})")
