"""Finds and starts a model class of lmms-eval."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from migbench.messages import AdapterError

__all__ = ["load", "untyped"]


def load(
    name: str, model_args: str, settings: Mapping[str, Any], batch_size: int, *, simple: bool
) -> Any:
    """The running model of this name. Raises `AdapterError`."""
    found = _find(name, simple=simple)
    parsed = untyped("lmms_eval.utils").simple_parse_args_string(model_args)
    arguments = {"batch_size": batch_size, **parsed, **settings}
    _check(name, found, arguments)
    try:
        model = found(**arguments)
    # Whatever a third party's class raises; some leave with SystemExit.
    except (Exception, SystemExit) as error:
        raise AdapterError(
            f"lmms-eval's {name} did not start: {type(error).__name__}: {error}"
        ) from error
    _quieten(found)
    return model


def untyped(module: str) -> Any:
    """Import when needed, and without types, so that everything else works without lmms-eval."""
    return importlib.import_module(module)


def _find(name: str, *, simple: bool) -> Any:
    try:
        models = untyped("lmms_eval.models")
    except ImportError as error:
        raise AdapterError(
            f"the lmms-eval adapter cannot import lmms-eval ({error}); docs/lmms-eval.md says how "
            "to install it without losing your torch"
        ) from error
    _log_to_stderr()
    known = models.list_available_models(include_aliases=True)
    if name not in known:
        raise AdapterError(f"lmms-eval has no model {name}; it has {', '.join(known)}")
    try:
        return models.get_model(name, force_simple=simple)
    except Exception as error:
        raise AdapterError(
            f"lmms-eval's {name} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _check(name: str, found: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse what the class would swallow or trip over, as far as its signature tells."""
    constructors = [inspect.signature(parent.__init__) for parent in found.__mro__[:-1]]
    takes = sorted(
        {
            key
            for constructor in constructors
            for key, one in constructor.parameters.items()
            if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        }
        - {"self"}
    )
    # Many classes take any keyword and then ignore it, or assert that there was none.
    if unknown := sorted(arguments.keys() - {*takes, "batch_size"}):
        raise AdapterError(
            f"lmms-eval's {name} has no setting {', '.join(unknown)}; it takes {', '.join(takes)}"
        )


def _log_to_stderr() -> None:
    """lmms-eval logs to standard output, where a command's result is to stand."""
    logger = untyped("loguru").logger
    logger.remove()
    logger.add(sys.stderr, level="WARNING")


def _quieten(found: Any) -> None:
    """Keep the classes from drawing a progress bar for every list of requests."""
    for module in {sys.modules[parent.__module__] for parent in found.__mro__}:
        bar = getattr(module, "tqdm", None)
        if callable(bar) and module.__name__.startswith("lmms_eval."):
            module.tqdm = _without_bar(bar)  # type: ignore[attr-defined]


def _without_bar(bar: Any) -> Any:
    return lambda *arguments, **settings: bar(*arguments, **{**settings, "disable": True})
