"""Checks of settings that several adapters have."""

from __future__ import annotations

from migbench.messages import AdapterError

__all__ = ["is_positive", "require_positive"]


def is_positive(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and value >= 1


def require_positive(**settings: int | None) -> None:
    """Raise `AdapterError` for a setting that is given and is not `is_positive`."""
    for name, value in settings.items():
        if value is not None and not is_positive(value):
            raise AdapterError(f"{name} must be a whole number of at least 1, not {value!r}")
