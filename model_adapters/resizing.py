"""How a loaded image processor resizes: a checkpoint may have bounds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migbench.messages import Resizing

__all__ = ["resizing_of"]

_SMART_RESIZE = {
    "Qwen2VLImageProcessor",
    "Qwen2VLImageProcessorFast",
    "Qwen2VLImageProcessorPil",
}
"""Classes of transformers that resize by this rule; Qwen2.5-VL and Qwen3-VL use them too."""

_BOUNDS = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""A bound's older name, and the key of ``size`` that holds an area in pixels all the same."""


def resizing_of(
    image_processor: Any, overrides: Mapping[str, Any] | None = None
) -> Resizing | None:
    """How an image processor resizes; None where that is another rule, or not known.

    ``overrides`` are settings that its calls are given beyond its own.
    """
    if not any(kind.__name__ in _SMART_RESIZE for kind in type(image_processor).__mro__):
        return None
    if not _given(overrides, "do_resize", image_processor.do_resize):
        return None
    bounds = dict(image_processor.size) | dict(_given(overrides, "size", {}))
    for name, edge in _BOUNDS.items():
        bounds[edge] = _given(overrides, name, bounds.get(edge))
    patch, merge = (
        _given(overrides, name, getattr(image_processor, name))
        for name in ("patch_size", "merge_size")
    )
    if None in (patch, merge, *(bounds[edge] for edge in _BOUNDS.values())):
        return None
    smallest, largest = (int(bounds[edge]) for edge in _BOUNDS.values())
    return Resizing(factor=int(patch) * int(merge), min_pixels=smallest, max_pixels=largest)


def _given(overrides: Mapping[str, Any] | None, name: str, otherwise: Any) -> Any:
    """A setting of a call, among all or among those of images, or else what the processor has."""
    for settings in ((overrides or {}).get("images_kwargs"), overrides):
        if settings and settings.get(name) is not None:
            return settings[name]
    return otherwise
