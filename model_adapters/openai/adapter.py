"""Servers that speak OpenAI's chat-completions API: vLLM, SGLang, or a hosted model.

Original image bytes travel as data URLs, or the files' paths where the servers can open them.
Requests leave by image set, each set to one endpoint and its first request ahead of the others, so
that prefix caches hit. Failures that pass (a busy or restarting server, a lost connection, a
time-out) are retried; work moves away from an endpoint that fails while another one is well; all
other failures are a `ModelError` at once, with the server's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from migbench.messages import Answer, ModelError, Readiness, Request, ServerDown
from model_adapters.openai.advice import Advice
from model_adapters.openai.backoff import Backoff
from model_adapters.openai.body import BodyFormat
from model_adapters.openai.endpoints import AttemptFailed, Endpoint
from model_adapters.openai.images import ImageEncoder, data_url, file_url
from model_adapters.openai.pool import Pool
from model_adapters.openai.preflight import readiness
from model_adapters.openai.servers import Servers
from model_adapters.openai.settings import OMITTABLE_FIELDS, OpenAISettings
from model_adapters.openai.transport import Transport

_SEND_IMAGES = {"bytes": data_url, "by-path": file_url}

_ASKED_PER_SLOT = 4
"""Requests that are worth having for each slot: those that wait for a leader, or for room at their
image set's endpoint, hold none, and others go meanwhile."""


class OpenAIAdapter:
    """A model behind OpenAI-compatible servers; the keywords are `OpenAISettings`.

    Redirects are not followed, and proxies and ``.netrc`` files are not consulted.
    """

    SERVING = frozenset(
        {
            "base_url",
            "base_url_env",
            "concurrency",
            "leader_first",
            "send_images",
            "timeout",
            "retries",
            "backoff",
            "longest_wait",
            "api_key_env",
            "max_tokens_field",
            "image_cache_mb",
            "check_endpoints",
        }
    )
    """The settings that do not change what the model says."""

    Settings = OpenAISettings
    needs_images = True

    def __init__(self, **settings: Any) -> None:
        """Check the settings and read the key. Raises `AdapterError`; connects to nothing yet."""
        chosen = OpenAISettings(**settings)
        key = chosen.key()
        endpoints = [
            Endpoint(url, slots=chosen.concurrency, longest_rest=chosen.longest_wait)
            for url in chosen.urls()
        ]
        slots = chosen.concurrency * len(endpoints)
        waits = chosen.leader_first or len(endpoints) > 1
        self._max_concurrency = slots * _ASKED_PER_SLOT if waits else slots
        self._free_moves = len(endpoints) - 1
        self._retries = chosen.retries
        self._backoff = Backoff(first=chosen.backoff, longest=chosen.longest_wait)
        self._endpoints = endpoints
        self._pool = Pool(endpoints, leader_first=chosen.leader_first)
        self._advice = _advice(chosen, has_key=key is not None)
        self._transport = Transport(
            connections=slots,
            timeout=chosen.timeout,
            key=key,
            advice=self._advice,
            by_path=chosen.send_images == "by-path",
            reason_required=chosen.finish_reason_required,
        )
        self._servers = Servers(
            self._transport.get,
            [endpoint.url for endpoint in endpoints],
            model=chosen.checkpoint,
            omit=chosen.omit_fields,
            extra=chosen.extra_body or {},
            must_agree=chosen.check_endpoints,
        )
        self._images = ImageEncoder(
            _SEND_IMAGES[chosen.send_images], cache_bytes=int(chosen.image_cache_mb * 1e6)
        )
        self._format = BodyFormat(
            model=chosen.checkpoint,
            max_tokens_field=chosen.max_tokens_field,
            omit=tuple(chosen.omit_fields),
            extra=dict(chosen.extra_body or {}),
            image_detail=chosen.image_detail,
        )

    @classmethod
    async def preflight(cls, **settings: Any) -> Readiness:
        """Whether the servers can be reached now, take the key, and serve the model."""
        adapter = cls(**settings)
        try:
            return await readiness(
                adapter._transport.probe,
                [endpoint.url for endpoint in adapter._endpoints],
                adapter._advice,
                key_is_named="api_key_env" in settings,
            )
        finally:
            await adapter._transport.close()

    @staticmethod
    def check(**settings: Any) -> None:
        """Check the settings, without connecting to anything. Raises `AdapterError`."""
        chosen = OpenAISettings(**settings)
        chosen.urls()
        chosen.key()

    @property
    def max_concurrency(self) -> int:
        """Several times the requests that are under way at once: some wait for others."""
        return self._max_concurrency

    async def answer(self, request: Request) -> Answer:
        """Answer one request; its ``seconds`` are those of the attempt that succeeded.

        Raises `ModelError` when an image cannot be sent, the server refuses the request, its reply
        is malformed, or no attempt succeeded.
        """
        # A slot is kept while waiting to retry: that is what makes a busy server less busy.
        async with self._pool.turn(request.image_set) as turn:
            images = await self._images.encode(request.images)
            attempts = retries = 0
            free_moves = self._free_moves
            while True:
                attempts += 1
                url = turn.endpoint.url
                try:
                    server = await self._servers.at(url)
                    body = self._format.pieces(request, images, self._servers.neutral(server))
                    reply = await self._transport.ask(url, body, server.models)
                except AttemptFailed as failure:
                    self._pool.failed(turn, failure)
                    if free_moves and failure.strikes and self._pool.can_move(turn):
                        free_moves -= 1
                    elif not failure.passes:
                        raise
                    elif self._pool.seems_down(turn, failure, attempts):
                        raise ServerDown(str(failure)) from failure
                    elif retries == self._retries:
                        raise ModelError(f"{failure} (attempts: {attempts})") from failure
                    else:
                        await asyncio.sleep(self._backoff.seconds(retries, failure.retry_after))
                        retries += 1
                    await self._pool.again(turn)
                else:
                    self._pool.answered(turn)
                    self._servers.replied(url, reply)
                    return reply.answer

    async def about(self) -> Mapping[str, Mapping[str, str]]:
        """What each server says of itself now, and has said in its replies, by address.

        Servers that cannot be reached are left out. Raises `AdapterError` where they serve
        different models.
        """
        return await self._servers.about()

    async def close(self) -> None:
        """Close all connections, and tell what failed on the way."""
        self._pool.close()
        await self._transport.close()


def _advice(settings: OpenAISettings, *, has_key: bool) -> Advice:
    extra = settings.extra_body or {}
    return Advice(
        model=settings.checkpoint,
        max_tokens_field=settings.max_tokens_field,
        omittable=sorted(OMITTABLE_FIELDS.difference(settings.omit_fields, extra)),
        extra=sorted(extra),
        key_variable=settings.api_key_env,
        has_key=has_key,
    )
