"""Checks of the settings with which an OpenAI-compatible server is reached."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from migbench.messages import AdapterError, keep_secret
from model_adapters.openai.identity import NEUTRAL_FIELDS

_GENERATION_FIELDS = frozenset({"temperature", "top_p", "seed"})

OMITTABLE_FIELDS = _GENERATION_FIELDS | NEUTRAL_FIELDS
"""Generation settings that some hosted models or servers refuse."""

_OWN_FIELDS = _GENERATION_FIELDS | {
    "model",
    "messages",
    "stream",
    "max_tokens",
    "max_completion_tokens",
}


def require(condition: bool, otherwise: str) -> None:
    """Raise `AdapterError` with the message ``otherwise`` unless ``condition`` holds."""
    if not condition:
        raise AdapterError(otherwise)


def addresses(base_url: str | Sequence[str] | None, variable: str | None) -> str | Sequence[str]:
    """The endpoints' addresses, given or in an environment variable. Raises `AdapterError`."""
    if base_url is None and variable is None:
        raise AdapterError("adapter openai needs an address: --endpoint http://HOST:PORT/v1")
    require(
        base_url is None or variable is None, "--endpoint, base_url_env: one of them is expected"
    )
    if variable is None:
        return "" if base_url is None else base_url
    found = os.environ.get(variable, "").split()
    require(bool(found), f"base_url_env: environment variable {variable} holds no address")
    return found


def completions_urls(base_url: str | Sequence[str]) -> list[str]:
    """The addresses that requests go to, one for each endpoint.

    Raises `AdapterError` for one of no use or given twice.
    """
    given = [base_url] if isinstance(base_url, str) else base_url
    require(
        isinstance(given, Sequence) and bool(given) and all(isinstance(one, str) for one in given),
        "--endpoint: an address, or a list of addresses, is expected",
    )
    urls = [completions_url(one) for one in given]
    twice = sorted({url for url in urls if urls.count(url) > 1})
    require(not twice, f"--endpoint: {', '.join(twice)} is given twice")
    return urls


def completions_url(base_url: str) -> str:
    """The address that requests go to. Raises `AdapterError` for a ``base_url`` of no use.

    The address is stored with a run and stands in errors, so nothing secret may be part of it.
    """
    try:
        parts = urlsplit(base_url)
        hostname = (parts.hostname or "").encode("idna")
        _ = parts.port  # raises when it is no port
    except ValueError:
        raise AdapterError("--endpoint: not an address; expected is http://HOST:PORT/v1") from None
    require(
        not (parts.username or parts.password or parts.query or parts.fragment),
        "--endpoint: an address without user name, password, query or fragment is expected; "
        "the key is read from the environment",
    )
    require(
        parts.scheme in {"http", "https"} and hostname != b"",
        "--endpoint: an address such as http://127.0.0.1:8000/v1 is expected",
    )
    return base_url.rstrip("/") + "/chat/completions"


def api_key(variable: str) -> str | None:
    """The key in an environment variable, or None. Raises `AdapterError`, never with the key."""
    require(
        isinstance(variable, str) and variable.isidentifier(),
        "api_key_env: the name of an environment variable is expected, not the key itself",
    )
    key = os.environ.get(variable, "").strip()
    require(
        key.isascii() and key.isprintable() and " " not in key,
        f"environment variable {variable}: holds characters that are in no key",
    )
    keep_secret(key)
    return key or None


def check_extra_body(extra_body: Mapping[str, Any], max_tokens_field: str) -> None:
    """Raise `AdapterError` unless the fields can be sent and contradict none of the adapter's."""
    require(isinstance(extra_body, Mapping), "extra_body: a mapping of fields is expected")
    taken = sorted((_OWN_FIELDS | {max_tokens_field}).intersection(extra_body))
    require(not taken, f"extra_body: {', '.join(taken)} cannot be set here")
    try:
        json.dumps(extra_body, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AdapterError(f"extra_body: cannot be written as JSON ({error})") from error
