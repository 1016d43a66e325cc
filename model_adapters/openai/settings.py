"""The openai adapter's settings, and their checks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from migbench.messages import AdapterError, keep_secret
from model_adapters.openai.identity import NEUTRAL_FIELDS

_GENERATION_FIELDS = frozenset({"temperature", "top_p", "seed"})

OMITTABLE_FIELDS = _GENERATION_FIELDS | NEUTRAL_FIELDS
"""Generation settings that some hosted models or servers refuse."""

SEND_IMAGES = ("bytes", "by-path")

_OWN_FIELDS = _GENERATION_FIELDS | {
    "model",
    "messages",
    "stream",
    "max_tokens",
    "max_completion_tokens",
}


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings; `AdapterError` is raised for one that is wrong.

    - ``checkpoint``: the model's name, as the server knows it.
    - ``base_url``: the API's address, up to and with its version: ``http://127.0.0.1:8000/v1``. Or
      a list of such addresses, endpoints that serve the same model and share the work.
    - ``base_url_env``: instead, the environment variable that holds the address, or several with
      spaces between them. For addresses whose path holds a key, which must not be stored.
    - ``concurrency``: requests under way at once at each endpoint, each on its own connection.
    - ``leader_first``: the first request about an image set is answered before its siblings leave.
    - ``send_images``: ``bytes``, or ``by-path``: ``file://`` URLs, where servers can open them.
    - ``timeout``: seconds for one attempt, from connecting to the last byte of the reply.
    - ``retries``: further attempts after a failure that may pass; where nothing listens at all, a
      run waits instead (``--patience``). Moving away from an endpoint that
      fails costs none of them, once for every other endpoint.
    - ``backoff``, ``longest_wait``: seconds before the first retry, doubled for each further one,
      and the most that is ever waited, whatever ``Retry-After`` says; also the longest that an
      endpoint is set aside.
    - ``api_key_env``: the environment variable that holds the key, sent to every endpoint. Local
      servers need none.
    - ``max_tokens_field``: ``max_completion_tokens`` for servers that no longer take the other.
    - ``omit_fields``: which of ``temperature``, ``top_p``, ``seed`` and of the fields that switch
      off a server's own decoding settings (see `identity`) the server does not accept.
    - ``extra_body``: further fields of the body, such as ``{"skip_special_tokens": false}``.
    - ``image_detail``: ``low``, ``high`` or ``auto``, where the server knows it.
    - ``image_cache_mb``: megabytes of encoded images that are kept for the next request.
    - ``check_endpoints``: refuse endpoints that seem to serve different models.
    - ``finish_reason_required``: an answer without a ``finish_reason`` is an error. Switch it off
      for a server that never sends one.
    """

    checkpoint: str
    base_url: str | Sequence[str] | None = None
    base_url_env: str | None = None
    concurrency: int = 32
    leader_first: bool = True
    send_images: str = "bytes"
    timeout: float = 600.0
    retries: int = 6
    backoff: float = 0.5
    longest_wait: float = 60.0
    api_key_env: str = "OPENAI_API_KEY"
    max_tokens_field: str = "max_tokens"
    omit_fields: Sequence[str] = ()
    extra_body: Mapping[str, Any] | None = None
    image_detail: str | None = None
    image_cache_mb: float = 64.0
    check_endpoints: bool = True
    finish_reason_required: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        require(self.concurrency >= 1, f"concurrency {self.concurrency}: at least 1 is expected")
        require(
            self.send_images in SEND_IMAGES,
            f"--send-images {self.send_images}: {' or '.join(SEND_IMAGES)}",
        )
        require(
            self.timeout > 0, f"timeout {self.timeout}: a number of seconds above 0 is expected"
        )
        require(0 <= self.retries <= 100, f"retries {self.retries}: 0 to 100 is expected")
        require(
            min(self.backoff, self.longest_wait) >= 0,
            "backoff, longest_wait: 0 or more is expected",
        )
        require(
            OMITTABLE_FIELDS.issuperset(self.omit_fields),
            f"omit_fields {list(self.omit_fields)}: a list of "
            f"{', '.join(sorted(OMITTABLE_FIELDS))}",
        )
        if self.extra_body is not None:
            check_extra_body(self.extra_body, self.max_tokens_field)

    def urls(self) -> list[str]:
        """The addresses that requests go to, one for each endpoint. Raises `AdapterError`."""
        return completions_urls(addresses(self.base_url, self.base_url_env))

    def key(self) -> str | None:
        """The key in the environment, if there is one. Raises `AdapterError`."""
        return api_key(self.api_key_env)


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
