"""Whether the servers could be asked now: they are reached, take the key and serve the model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from migbench.messages import Readiness, redact
from model_adapters.openai.advice import Advice, missing_version
from model_adapters.openai.endpoints import AttemptFailed
from model_adapters.openai.identity import Identity, ask_identity
from model_adapters.openai.server_errors import ServerError, server_message

Probe = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Status and body of an address; raises `AttemptFailed` where nothing can be reached there."""

_SHOWN = 10
_ANY_NAME = frozenset({"llamacpp"})
"""Servers that serve their one model under whatever name it is asked for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """One endpoint: what is wrong with it, and who it says it is."""

    problem: str = ""
    is_reachable: bool = True
    identity: Identity | None = None


async def readiness(
    probe: Probe, urls: Sequence[str], advice: Advice, *, key_is_named: bool
) -> Readiness:
    """What stands in the way of asking at these addresses, and what is served there.

    An endpoint that cannot be reached is a problem where none can; else the others do its work, and
    it is warned of. ``key_is_named`` says that the user has said which variable holds the key.
    """
    problems = []
    if key_is_named and not advice.has_key:
        problems.append(
            f"the environment variable {advice.key_variable}, which is to hold the key, is not "
            f"set: export {advice.key_variable}=... (--model-arg api_key_env=VARIABLE names it)"
        )
    found = await asyncio.gather(*(_look(probe, url, advice) for url in urls))
    some = any(each.is_reachable for each in found)
    for each in found:
        if each.problem and some and not each.is_reachable:
            _log.warning("%s; the other endpoints do its work", each.problem)
        elif each.problem:
            problems.append(each.problem)
    facts = [each.identity.facts for each in found if each.identity]
    return Readiness(
        problems=tuple(problems),
        checkpoints=_said(facts, "root") + _said(facts, "model_path"),
        model_types=_said(facts, "model_type"),
    )


def _said(facts: Sequence[Mapping[str, str]], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each[name] for each in facts if name in each))


async def _look(probe: Probe, url: str, advice: Advice) -> _Found:
    base = url.removesuffix("/chat/completions")
    shown = redact(base)
    try:
        status, body = await probe(f"{base}/models")
        if status in {404, 405} and missing_version(url):
            status_below, _ = await probe(f"{base}/v1/models")
            if status_below in {200, 401}:
                return _Found(f"{shown}: the API is at {shown}/v1: --endpoint {shown}/v1")
    except AttemptFailed as failure:
        return _Found(str(failure).replace("/models: ", ": ", 1), is_reachable=False)
    if status == 0:
        _log.warning("%s: does not say in time which models it serves; it is asked anyway", shown)
        return _Found()
    if status == 401:
        error = ServerError(redact(server_message(body))[:200])
        return _Found(f"{shown}: 401: {error.message}{advice.on(status, error, url, ())}")

    async def get(address: str) -> tuple[int, bytes] | None:
        try:
            return (status, body) if address == f"{base}/models" else await probe(address)
        except AttemptFailed:
            return None

    identity = await ask_identity(get, base, advice.model)
    if identity is None or identity.kind in _ANY_NAME or not identity.models:
        return _Found(identity=identity)
    if not any(_is_asked(name, advice.model) for name in identity.models):
        served = ", ".join(identity.models[:_SHOWN])
        return _Found(
            f"{shown}: does not serve {advice.model}, but {served}: the model's name is --model "
            "NAME, or beside a profile --model-arg checkpoint=NAME",
            identity=identity,
        )
    return _Found(identity=identity)


def _is_asked(listed: str, asked: str) -> bool:
    """Whether a listed name is the one asked for: with a folder before it, or a tag behind it."""
    return listed == asked or listed.endswith(f"/{asked}") or listed.startswith(f"{asked}:")
