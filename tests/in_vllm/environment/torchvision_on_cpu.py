"""Lets torchvision be imported beside a CPU build of torch. For the test environment alone.

There is no CPU build of torchvision in the package index, and importing the published one fails on
CPU torch (``operator torchvision::nms does not exist``): it describes the shapes of two operators
whose compiled code did not load. vLLM needs torchvision for the video half of Qwen2-VL's processor,
which our questions never use. So the two operators are declared, without code, just before
torchvision is first imported. A ``.pth`` file of the environment imports this module at every
interpreter's start, those of vLLM's own processes included; torch is not imported until then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []
"""The library of the declared operators: they are gone once it is."""


class DeclareOperators(MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Declare them once, and leave the finding to the finders that follow."""
        if fullname == "torchvision" and not _declared:
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                library.define(operator)
            _declared.append(library)
        return None


sys.meta_path.insert(0, DeclareOperators())
