"""Starting a model: find its adapter, check the settings, complete a simple class's protocol."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from migbench.errors import AdapterError, MigbenchError, UsageError
from migbench.messages import Adapter
from migbench.models.boundary import max_concurrency_of
from migbench.models.resolving import Model
from migbench.models.worker_threads import InThreads
from migbench.util.plain_text import describe
from migbench.util.suggestions import did_you_mean

GROUP = "migbench.model_adapters"


def adapter_names() -> list[str]:
    """Names of the installed adapters."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def start_adapter(model: Model) -> Adapter:
    """The running model. Raises `UsageError` for settings it does not take, else `AdapterError`."""
    factory = find_adapter(model.adapter)
    arguments = _arguments(model, factory)
    with _errors_named(f"adapter {model.adapter} did not start"):
        started = factory(**arguments)
        _check_protocol(model.adapter, started)
        is_full = inspect.iscoroutinefunction(getattr(started, "answer", None))
        return cast(Adapter, started) if is_full else InThreads(model.adapter, started)


@contextmanager
def _errors_named(what: str) -> Iterator[None]:
    """Turn whatever somebody else's code raises into an `AdapterError`; only Ctrl-C stays."""
    try:
        yield
    except (MigbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise AdapterError(f"{what}: {describe(error)}") from error


def _check_protocol(name: str, started: Any) -> None:
    """Check what an adapter says of itself; a simple class may leave it unsaid."""
    concurrency = max_concurrency_of(started)
    if type(concurrency) is not int or concurrency < 1:
        raise AdapterError(
            f"adapter {name}: its max_concurrency is {concurrency!r}, not a whole number of 1 or "
            "more"
        )
    needs_images = getattr(started, "needs_images", True)
    if type(needs_images) is not bool:
        raise AdapterError(
            f"adapter {name}: its needs_images is {needs_images!r}, not True or False"
        )


def check_settings(model: Model) -> None:
    """Check a model's settings as far as that can be done without starting it.

    Raises what `start_adapter` would. An adapter says more by a function ``check`` of its class,
    which takes the settings.
    """
    factory = find_adapter(model.adapter)
    arguments = _arguments(model, factory)
    if (check := getattr(factory, "check", None)) is not None:
        check(**arguments)


def adapter_arguments(model: Model) -> dict[str, Any]:
    """The keywords with which a model's adapter is made. Raises `UsageError` for others."""
    return _arguments(model, find_adapter(model.adapter))


def _arguments(model: Model, factory: Callable[..., Any]) -> dict[str, Any]:
    """The keywords of the adapter's constructor. Raises `UsageError` where it has others."""
    with _errors_named(f"adapter {model.adapter} is not a class with settings"):
        parameters = settings_of(factory)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    offered = {
        "checkpoint": model.checkpoint,
        "revision": model.revision,
        "min_pixels": model.pixels.min,
        "max_pixels": model.pixels.max,
    }
    arguments = {key: value for key, value in offered.items() if key in parameters and value}
    arguments |= model.settings
    if unknown := sorted(set(arguments) - set(parameters)) if not takes_any else []:
        raise UsageError(
            f"adapter {model.adapter} has no setting {', '.join(unknown)}; "
            f"it takes {', '.join(parameters) or 'none'}"
        )
    missing = [
        key
        for key, one in parameters.items()
        if one.default is one.empty
        and key not in arguments
        and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if missing:
        flags = " ".join(f"--model-arg {key}=..." for key in missing)
        raise UsageError(f"adapter {model.adapter} needs a setting more: {flags}")
    return arguments


def settings_of(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """An adapter's settings by name: its record of ``Settings``, or its constructor's keywords."""
    return inspect.signature(getattr(factory, "Settings", factory)).parameters


def serving_settings(name: str) -> frozenset[str]:
    """The settings of an adapter that say how its model is served, not what it says."""
    return frozenset(getattr(find_adapter(name), "SERVING", ()))


def package_of(name: str) -> dict[str, str] | None:
    """The package that an installed adapter comes in, with its version; None for our own."""
    for entry in entry_points(group=GROUP):
        if entry.name == name and entry.dist is not None and entry.dist.name != "migbench":
            return {entry.dist.name: entry.dist.version}
    return None


def find_adapter(name: str) -> Callable[..., Any]:
    """The adapter's class: by entry point, or by ``path/to/file.py:Class``."""
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _load_from_file(Path(path), attribute)
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise UsageError(
            f"--adapter {name}: there is none of this name{did_you_mean(name, adapter_names())}; "
            f"choose from {', '.join(adapter_names())}, or path/to/file.py:Class"
        )
    return _load_entry_point(found[0])


def _load_entry_point(entry: EntryPoint) -> Callable[..., Any]:
    with _errors_named(f"adapter {entry.name} cannot be imported"):
        try:
            return cast(Callable[..., Any], entry.load())
        except ImportError as error:
            raise AdapterError(
                f"adapter {entry.name} cannot be imported: {describe(error)}; "
                f"try `pip install 'migbench[{entry.name}]'`"
            ) from error


def _load_from_file(path: Path, attribute: str) -> Callable[..., Any]:
    if not path.is_file():
        raise UsageError(f"--adapter: no file {path}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"--adapter: {path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    with _errors_named(str(path)):
        specification.loader.exec_module(module)
    if not hasattr(module, attribute):
        raise UsageError(f"--adapter: {path} has no class {attribute}")
    return cast(Callable[..., Any], getattr(module, attribute))
