"""What a server is: what it says of itself, and which decoding settings it would add unasked.

Servers fill in what a request leaves out from the checkpoint's ``generation_config.json`` or from
defaults of their own: vLLM decodes Qwen2.5-VL with a ``repetition_penalty`` of 1.05. So the fields
of a server that is known are sent with the values that change nothing. Which server it is, it says
itself, by ``owned_by`` in its list of models; nothing is tried out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

Get = Callable[[str], Awaitable[tuple[int, bytes] | None]]
"""Fetches an address: status and body, or None where nothing can be reached there now."""

_NEUTRAL: Mapping[str, Mapping[str, float | int]] = MappingProxyType(
    {
        # vLLM before 0.9 takes -1 alone for "all tokens", later ones 0 too; SGLang takes -1.
        "vllm": {
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_k": -1,
            "min_p": 0.0,
        },
        "sglang": {
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_k": -1,
            "min_p": 0.0,
        },
        "llamacpp": {
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_k": 0,
            "min_p": 0.0,
            "typical_p": 1.0,
            "dry_multiplier": 0.0,
            "xtc_probability": 0.0,
            "mirostat": 0,
        },
        "lmdeploy": {"repetition_penalty": 1.0, "min_p": 0.0},
        "ollama": {"presence_penalty": 0.0, "frequency_penalty": 0.0},
    }
)

NEUTRAL_FIELDS = frozenset(name for fields in _NEUTRAL.values() for name in fields)

_KINDS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "lmdeploy": "lmdeploy",
    "library": "ollama",
}
"""Servers by what their lists of models name as the owner."""

_PAGES = {
    "vllm": ("/version",),
    "sglang": ("/get_model_info", "/get_server_info"),
    "llamacpp": ("/props",),
    "ollama": ("/api/version",),
}
"""What else a server tells of itself, beside its API."""

_FACTS = {
    "version": "version",
    "build_info": "version",
    "model_path": "model_path",
    "model_type": "model_type",
    "model_alias": "model_alias",
}
"""What is kept of those pages, and its name."""

_LISTED = 20
_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Identity:
    """A server's account of itself; ``facts`` is empty where it gave none."""

    kind: str = ""
    models: tuple[str, ...] = ()
    """The names under which it serves models, as far as it lists them."""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def neutral(self) -> Mapping[str, float | int]:
        """The fields that keep it from adding decoding settings of its own."""
        return _NEUTRAL.get(self.kind, {})


async def ask_identity(get: Get, base_url: str, model: str) -> Identity | None:
    """Ask a server what it is. None where it cannot be reached now; then it may be asked again."""
    reply = await get(f"{base_url.rstrip('/')}/models")
    if reply is None:
        return None
    entries = _entries(reply)
    names = tuple(_text(entry["id"]) for entry in entries)
    (entry,) = [one for one in entries if one["id"] == model][:1] or [{}]
    if not entry and len(entries) == 1:
        entry = entries[0]
    owners = {str(one.get("owned_by")) for one in entries}
    kind = next((_KINDS[owner] for owner in sorted(owners) if owner in _KINDS), "")
    facts = {"server": kind or _text(entry.get("owned_by"))} | _facts_of_entry(entry)
    if names and model not in names:
        # Told only where the model asked for is not among them.
        facts["models"] = ", ".join(names[:_LISTED])
    for page in _PAGES.get(kind, ()):
        facts |= _facts_of_page(await get(_root(base_url) + page))
    return Identity(kind, names, {name: value for name, value in facts.items() if value})


def difference(one: Identity, other: Identity) -> str:
    """What shows that two servers serve different models; empty where nothing does.

    Paths are compared by their last part: the same checkpoint may lie in another folder.
    """
    if one.models and other.models and ("models" in one.facts) != ("models" in other.facts):
        lacking = one if "models" in one.facts else other
        return f"one of them lists only {lacking.facts['models']}"
    for name in ("model", "root", "model_path", "parameters", "size"):
        ours, theirs = one.facts.get(name), other.facts.get(name)
        if ours and theirs and _last_part(ours) != _last_part(theirs):
            return f"{name} {ours} and {theirs}"
    return ""


def _entries(reply: tuple[int, bytes]) -> list[dict[str, Any]]:
    body = _mapping(reply)
    data = body.get("data")
    return [
        entry
        for entry in (data if isinstance(data, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]


def _mapping(reply: tuple[int, bytes] | None) -> dict[str, Any]:
    if reply is None or reply[0] != 200:
        return {}
    try:
        body = msgspec.json.decode(reply[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _facts_of_entry(entry: Mapping[str, Any]) -> dict[str, str]:
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return {
        "model": _text(entry.get("id")),
        "root": _text(entry.get("root")),
        "max_model_len": _text(entry.get("max_model_len")),
        "parameters": _text(meta.get("n_params")),
        "size": _text(meta.get("size")),
    }


def _facts_of_page(reply: tuple[int, bytes] | None) -> dict[str, str]:
    body = _mapping(reply)
    return {name: _text(body[key]) for key, name in _FACTS.items() if body.get(key)}


def _text(value: object) -> str:
    """A short text of a text or a number; nothing of anything else."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value)[:_LENGTH].encode("utf-8", "replace").decode() if is_plain else ""


def _root(base_url: str) -> str:
    """The server's address, without the path of its API."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix("/v1"), "", ""))


def _last_part(path: str) -> str:
    return PurePosixPath(PureWindowsPath(path).as_posix()).name or path
