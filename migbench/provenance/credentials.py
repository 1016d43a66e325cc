"""Keeping secrets out of manifests: a setting that holds one is refused before it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from migbench.errors import UsageError

_SECRET = re.compile(
    r"(^|[_-])((api|access|auth|private|secret)[_-]?key"
    r"|(api|access|auth|bearer|hf|refresh|session)[_-]?token"
    r"|password|passwd|secret|credentials?|authorization)$"
    r"|^(key|token)$",
    re.IGNORECASE,
)


def refuse_secrets(settings: Mapping[str, Any]) -> None:
    """Raise `UsageError` where a setting is called a secret, or an address has one in it.

    The message names the setting, and never its value.
    """
    for name in _secrets("", settings):
        raise UsageError(
            f"setting {name}: looks like a secret, which a run's manifest must not hold; have the "
            "adapter read it from an environment variable (openai: api_key_env=VARIABLE)"
        )


def _secrets(name: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(name, inner)
    elif isinstance(value, str) and value and (_is_secret(name) or _is_in_address(value)):
        yield name


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name.rpartition(".")[2]))


def _is_in_address(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.password is not None or any(_is_secret(name) for name, _ in parse_qsl(parts.query))
