"""Keeping secrets out of run folders: what looks like one in the settings is refused at the start.

A setting is refused by its name, by its value, or for what stands in an address. Secrets that are
in use, because the environment holds them, are made known to `migbench.util.redaction`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from migbench.errors import UsageError
from migbench.util.redaction import STRETCH, keep_secret, redact

if TYPE_CHECKING:
    from migbench.models.resolving import Model

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SECRET_WORDS = frozenset(
    {
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "jwt",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "pat",
        "pwd",
        "sas",
        "secret",
        "secrets",
    }
)
"""A setting whose name ends in one of these holds a secret."""

_BEFORE_KEY = frozenset(
    {
        "access",
        "account",
        "admin",
        "api",
        "app",
        "auth",
        "client",
        "encryption",
        "functions",
        "host",
        "master",
        "private",
        "secret",
        "service",
        "shared",
        "signing",
        "subscription",
        "user",
    }
)
_BEFORE_TOKEN = frozenset(
    {
        "access",
        "api",
        "app",
        "auth",
        "bearer",
        "bot",
        "client",
        "face",
        "github",
        "gitlab",
        "hf",
        "hub",
        "id",
        "login",
        "oauth",
        "personal",
        "private",
        "refresh",
        "secret",
        "security",
        "service",
        "session",
        "user",
    }
)
"""What makes a ``..._key`` or a ``..._token`` a secret; ``eos_token`` and ``max_tokens`` are none.
"""

_SECRET_PARAMETERS = frozenset({"auth", "code", "key", "sig", "signature", "sas", "token"})
"""What else is secret where it is a parameter of an address."""

_HEADERS = frozenset({"headers", "header"})
"""Settings that hold HTTP headers, which are where keys travel."""

_KEY_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|rk|pk|gsk|hf|gh[opsu]|github_pat|glpat|xai|xox[abprs]|nvapi|r8|pplx|tgp)"
    r"[-_][A-Za-z0-9_\-]{6,}"
    r"|AIza[A-Za-z0-9_\-]{20,}"
    r"|AKIA[A-Z0-9]{12,}"
    r"|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-.]+"
    r"|(?:Bearer|Basic)\s+\S{6,}"
)
"""Keys as the well-known services write them."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,79}")
_SEGMENT_WORDS = re.compile(r"[A-Za-z0-9]+")

_OPTIONS = {
    "adapter": "--adapter",
    "base_url": "--endpoint",
    "checkpoint": "--model",
    "model": "--model",
}
"""Settings that have an option of their own."""


def refuse_secrets(settings: Mapping[str, Any]) -> None:
    """Raise `UsageError` where a setting holds a secret, or a key in place of a variable's name.

    The message names the setting, and never its value, which no message can show from then on.
    """
    for name, value, reason in _secrets(settings):
        keep_secret(value)
        raise UsageError(f"{_OPTIONS.get(name, f'setting {name}')}: {reason}")


def refuse_secrets_of(model: Model) -> None:
    """The same for all that a manifest holds of a model; secrets in the environment are known."""
    keep_secrets_in_use(model.settings)
    named = {"model": model.name, "checkpoint": model.checkpoint, "adapter": model.adapter}
    refuse_secrets({**named, **model.settings})


def keep_secrets_in_use(settings: Mapping[str, Any]) -> None:
    """Make known what is secret in the environment.

    That is what a variable's name says is secret (``HF_TOKEN``), and what stands in the variables
    that settings name (``api_key_env=NAME``): of addresses, what looks like a secret in them.
    """
    named = {value for name, value in _named("", settings) if _names_variable(name)}
    for variable, value in os.environ.items():
        if variable not in named and not _is_secret_variable(variable):
            continue
        if "://" in value:
            for address in value.split():
                for secret in _secrets_in_address(address):
                    keep_secret(secret)
        elif not _is_no_secret(value):
            keep_secret(value)


def _is_secret_variable(variable: str) -> bool:
    """Whether a variable's name says that it holds a secret: any key or token is one there."""
    last = variable.lower().rpartition("_")[2]
    return last in {"key", "token"} or is_secret_name(variable)


def _is_no_secret(value: str) -> bool:
    """Whether a variable of a secret's name holds none: a path that leads to a key, a switch."""
    if len(value) < STRETCH and (value.isdigit() or value.lower() in {"true", "false", "none"}):
        return True
    return value.startswith(("/", "~")) and Path(value).expanduser().exists()


def is_secret_name(name: str) -> bool:
    """Whether something of this name (``api_key``, ``accessToken``, ``HF_TOKEN``) is a secret.

    >>> [is_secret_name(name) for name in ("subscription-key", "clientSecret", "pad_token", "pwd")]
    [True, True, False, True]
    """
    words = [word.lower() for word in _WORD.findall(name.rpartition(".")[2])]
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "key":
        return not before or before in _BEFORE_KEY
    if last == "token":
        return not before or before in _BEFORE_TOKEN
    return last in _SECRET_WORDS


def looks_like_key(text: str) -> bool:
    """Whether the text is written like a key: a known form, or letters and digits in a long mix.

    >>> [looks_like_key(text) for text in ("sk-proj-4f9a8b7c", "OPENAI_API_KEY", "qwen2-vl-7b")]
    [True, False, False]
    """
    return bool(_KEY_SHAPES.search(text)) or any(
        len(word) >= 16 and not word.isalpha() and not word.isdigit()
        for word in _SEGMENT_WORDS.findall(text)
    )


_FOR_A_VARIABLE = (
    "the name of an environment variable is expected, not the key itself: put the key into a "
    "variable (export MY_KEY=...) and give the variable's name"
)
_BY_NAME = (
    "looks like a secret, which a run's manifest must not hold; have the adapter read it from an "
    "environment variable (openai: --model-arg api_key_env=VARIABLE)"
)
_IN_ADDRESS = (
    "the address looks as if a secret were in it, which a run's manifest must not hold; give it "
    "without user name, parameters and keys, and put the key into an environment variable "
    "(openai: --model-arg api_key_env=VARIABLE); an address whose path has to hold it goes into "
    "one as a whole (openai: --model-arg base_url_env=VARIABLE)"
)


def _secrets(settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The settings that hold secrets: name, secret, and what to do about it."""
    for name, value in _named("", settings):
        text = str(value)
        if _names_variable(name):
            if not _is_variable(text):
                yield name, text, _FOR_A_VARIABLE
        elif _is_secret_setting(name):
            yield name, text, _BY_NAME
        elif "://" in text and (secret := next(_secrets_in_address(text), "")):
            yield name, secret, _IN_ADDRESS
        elif isinstance(value, str) and _is_secret_value(text):
            yield name, text, _BY_NAME


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every text and number in the settings, with its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _named(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _named(name, inner)
    elif isinstance(value, bytes):
        yield name, value.decode(errors="replace")
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield name, value


def _names_variable(name: str) -> bool:
    return name.lower().endswith(("_env", "_env_var", "_environment_variable"))


def _is_variable(text: str) -> bool:
    """Whether this is an environment variable's name: one that is set, or is written like one."""
    if text in os.environ:
        return True
    return bool(_VARIABLE.fullmatch(text)) and not looks_like_key(text)


def _is_secret_setting(name: str) -> bool:
    *outer, _ = parts = name.split(".")
    if any(_is_headers(part) for part in parts):
        return True
    return is_secret_name(name) or any(is_secret_name(part) for part in outer)


def _is_headers(name: str) -> bool:
    words = _WORD.findall(name)
    return bool(words) and words[-1].lower() in _HEADERS


def _is_secret_value(text: str) -> bool:
    """Whether it is a secret in use, or holds a key of a well-known form."""
    return bool(_KEY_SHAPES.fullmatch(text)) or redact(text, is_answer=True) != text


def _secrets_in_address(address: str) -> Iterator[str]:
    """What is secret in an address: the user's part, parameters, pieces of the path."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    if user := parts.netloc.rpartition("@")[0]:
        yield user.partition(":")[2] or user
    for text in (parts.query, parts.fragment):
        if text and "=" not in text and looks_like_key(text):
            yield text
        for name, value in parse_qsl(text):
            is_named = is_secret_name(name) or name.lower() in _SECRET_PARAMETERS
            if is_named or looks_like_key(value) or _is_secret_value(value):
                yield value
    if parts.scheme == "file":
        return
    segments = [unquote(segment) for segment in parts.path.split("/")]
    for before, segment in pairwise(segments):
        is_named = is_secret_name(before) and segment != ""
        if is_named or looks_like_key(segment) or _is_secret_value(segment):
            yield segment
