"""The servers of one adapter: who they are, that they agree, and what their replies name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeGuard

from migbench.messages import AdapterError, redact
from model_adapters.openai.endpoints import STRIKES_OUT, AttemptFailed
from model_adapters.openai.identity import Get, Identity, ask_identity, difference
from model_adapters.openai.reply import Reply

_log = logging.getLogger(__name__)

_KEPT = 5
"""Different names and fingerprints that are kept of a server's replies."""

_REMEDY = (
    "endpoints of one run must serve the same model; where they do, under other names: "
    "--model-arg check_endpoints=false"
)


class Servers:
    """What is known of the servers behind the addresses ``urls``, asked by ``get``.

    ``model`` is the name asked for; ``omit`` and ``extra`` are the adapter's ``omit_fields`` and
    ``extra_body``; with ``must_agree``, those that serve another model than the rest are refused.
    """

    def __init__(
        self,
        get: Get,
        urls: Sequence[str],
        *,
        model: str,
        omit: Sequence[str],
        extra: Mapping[str, Any],
        must_agree: bool,
    ) -> None:
        self._get = get
        self._model = model
        self._left_out = frozenset(omit).union(extra)
        self._must_agree = must_agree
        self._identities: dict[str, Identity | None] = dict.fromkeys(urls)
        self._locks = {url: asyncio.Lock() for url in urls}
        self._models: dict[str, list[str]] = {url: [] for url in urls}
        self._fingerprints: dict[str, list[str]] = {url: [] for url in urls}

    async def at(self, url: str) -> Identity:
        """Who the server is; asked once, and again only while it cannot be reached.

        Raises `AttemptFailed` where it serves another model than the endpoints known before.
        """
        known = self._identities[url]
        if known is not None:
            return known
        async with self._locks[url]:
            if (known := self._identities[url]) is not None:
                return known
            identity = await ask_identity(self._get, _base(url), self._model)
            if identity is None:
                return Identity()
            for other, theirs in self._identities.items():
                if theirs and self._must_agree and (reason := difference(theirs, identity)):
                    raise AttemptFailed(
                        f"{_named(url)}: serves another model than {_named(other)} ({reason}); "
                        f"{_REMEDY}",
                        strikes=STRIKES_OUT,
                    )
            self._identities[url] = identity
            return identity

    def neutral(self, server: Identity) -> dict[str, float | int]:
        """The fields that keep the server from adding decoding settings of its own."""
        return {name: value for name, value in server.neutral.items() if name not in self._left_out}

    def replied(self, url: str, reply: Reply) -> None:
        """Keep which model and which fingerprint a reply names."""
        model, fingerprint = reply.model, reply.system_fingerprint
        if _is_new(model, models := self._models[url]):
            models.append(model)
            if len(models) > 1 or not _is_same_model(model, self._model):
                _log.warning(
                    "%s answers as model %s, and was asked for %s", _named(url), model, self._model
                )
        if _is_new(fingerprint, fingerprints := self._fingerprints[url]):
            fingerprints.append(fingerprint)
            if len(fingerprints) > 1:
                _log.warning(
                    "%s has changed during the run: its system_fingerprint was %s, and is %s now",
                    *(_named(url), fingerprints[-2], fingerprint),
                )

    async def about(self) -> dict[str, dict[str, str]]:
        """All servers' accounts of themselves, asked anew; see `OpenAIAdapter.about`."""
        urls = list(self._identities)
        asked = await asyncio.gather(
            *(ask_identity(self._get, _base(url), self._model) for url in urls)
        )
        found = {url: one for url, one in zip(urls, asked, strict=True) if one is not None}
        for (url, one), (other, another) in combinations(found.items(), 2):
            if self._must_agree and (reason := difference(one, another)):
                raise AdapterError(
                    f"{_named(url)} and {_named(other)} serve different models ({reason}); "
                    f"{_REMEDY}"
                )
            for name in ("server", "version"):
                if one.facts.get(name) != another.facts.get(name):
                    _log.warning(
                        "%s and %s differ: %s %s and %s",
                        *(_named(url), _named(other), name),
                        *(each.facts.get(name, "unknown") for each in (one, another)),
                    )
        for url, identity in found.items():
            self._identities[url] = identity
        return {_named(url): self._account(url, one) for url, one in found.items()}

    def _account(self, url: str, identity: Identity) -> dict[str, str]:
        account = dict(identity.facts)
        if neutral := self.neutral(identity):
            account["sent"] = ", ".join(f"{name}={value}" for name, value in neutral.items())
        if fingerprints := self._fingerprints[url]:
            account["system_fingerprint"] = ", ".join(fingerprints)
        if models := self._models[url]:
            account["model_in_replies"] = ", ".join(models)
        return account


def _is_new(said: str | None, kept: Sequence[str]) -> TypeGuard[str]:
    return bool(said) and said not in kept and len(kept) < _KEPT


def _is_same_model(said: str, asked: str) -> bool:
    """Whether a reply's name is the one asked for, or a dated version of it, or its last part."""
    said, asked = said.lower(), asked.lower()
    return said.startswith(asked) or asked.endswith(f"/{said}") or said.endswith(f"/{asked}")


def _base(url: str) -> str:
    return url.removesuffix("/chat/completions")


def _named(url: str) -> str:
    """The address as it may be told and kept: without a key that is part of it."""
    return redact(_base(url))
