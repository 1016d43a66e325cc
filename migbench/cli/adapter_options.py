"""Settings of adapters as options: ``--model-arg`` for any of them, and short forms for some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from migbench.cli.options import together
from migbench.errors import DataError, UsageError
from migbench.models.credentials import looks_like_key
from migbench.util.yaml_files import parse_yaml

adapter_options = together(
    click.option(
        "--model-arg",
        multiple=True,
        metavar="KEY=VALUE",
        help="A setting of the adapter; may be given several times.",
    ),
    click.option(
        "--endpoint",
        multiple=True,
        metavar="URL",
        help="openai adapter: a server's base URL; give several to share the work among them.",
    ),
    click.option(
        "--send-images",
        type=click.Choice(["bytes", "by-path"]),
        help="openai adapter: send the files (default), or paths that the server can open.",
    ),
    click.option(
        "--batch-size",
        metavar="N|auto",
        callback=lambda context, parameter, text: text and _batch_size(text),
        help="transformers adapter: requests at once, or as many as fit into memory.",
    ),
    click.option(
        "--engine-args",
        multiple=True,
        metavar="KEY=VALUE",
        help="vllm adapter: an argument of vLLM's engine; may be given several times.",
    ),
)


def adapter_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The adapter's settings that these options give; they are taken out of ``options``."""
    settings = _pairs("--model-arg", options.pop("model_arg"))
    if endpoints := options.pop("endpoint"):
        settings["base_url"] = endpoints[0] if len(endpoints) == 1 else list(endpoints)
    if engine_args := _pairs("--engine-args", options.pop("engine_args")):
        settings["engine_args"] = settings.get("engine_args", {}) | engine_args
    for name in ("send_images", "batch_size"):
        if (given := options.pop(name)) is not None:
            settings[name] = given
    return settings


def _pairs(flag: str, pairs: Iterable[str]) -> dict[str, Any]:
    """What ``KEY=VALUE`` says, the value read as YAML."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            # Repeated only where it cannot be a key, or an address that holds one.
            shown = f" {pair}" if pair.isidentifier() and not looks_like_key(pair) else ""
            raise UsageError(f"{flag}{shown}: give it as KEY=VALUE")
        try:
            settings[key.strip().replace("-", "_")] = parse_yaml(value, flag)
        except DataError:
            # Not repeated: it may be a key.
            raise UsageError(f"{flag} {key}=...: its value cannot be parsed as YAML") from None
    return settings


def _batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch-size {text}: give a whole number of at least 1, or auto")
    return int(text)
