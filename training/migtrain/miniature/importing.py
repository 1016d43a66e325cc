"""Importing what only training needs, when it is needed."""

from __future__ import annotations

import importlib
from typing import Any

from migbench.errors import AdapterError


def untyped(module: str) -> Any:
    """Import when needed. Raises `AdapterError` with the remedy where that fails."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AdapterError(
            f"training needs {module}, which cannot be imported ({error}); "
            "install it with: pip install migtrain"
        ) from error
