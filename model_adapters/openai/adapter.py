"""Servers that speak OpenAI's chat-completions API: vLLM, SGLang, or a hosted model.

Original image bytes travel as data URLs, or the files' paths where the servers can open them.
Requests leave by image set, each set to one endpoint and its first request ahead of the others, so
that prefix caches hit. Failures that pass (a busy or restarting server, a lost connection, a
time-out) are retried; work moves away from an endpoint that fails while another one is well; all
other failures are a `ModelError` at once, with the server's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
from model_adapters.openai.settings import (
    OMITTABLE_FIELDS,
    addresses,
    api_key,
    check_extra_body,
    completions_urls,
    require,
)
from model_adapters.openai.transport import Transport

_SEND_IMAGES = {"bytes": data_url, "by-path": file_url}

_ASKED_PER_SLOT = 4
"""Requests that are worth having for each slot: those that wait for a leader, or for room at their
image set's endpoint, hold none, and others go meanwhile."""


class OpenAIAdapter:
    """A model behind OpenAI-compatible servers; the keywords of the constructor are its settings.

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

    needs_images = True

    def __init__(
        self,
        *,
        checkpoint: str,
        base_url: str | Sequence[str] | None = None,
        base_url_env: str | None = None,
        concurrency: int = 32,
        leader_first: bool = True,
        send_images: str = "bytes",
        timeout: float = 600.0,
        retries: int = 6,
        backoff: float = 0.5,
        longest_wait: float = 60.0,
        api_key_env: str = "OPENAI_API_KEY",
        max_tokens_field: str = "max_tokens",
        omit_fields: Sequence[str] = (),
        extra_body: Mapping[str, Any] | None = None,
        image_detail: str | None = None,
        image_cache_mb: float = 64.0,
        check_endpoints: bool = True,
        finish_reason_required: bool = True,
    ) -> None:
        """Check the settings and read the key. Raises `AdapterError`; connects to nothing yet."""
        require(concurrency >= 1, f"concurrency {concurrency}: at least 1 is expected")
        require(
            send_images in _SEND_IMAGES, f"send_images {send_images}: {' or '.join(_SEND_IMAGES)}"
        )
        require(timeout > 0, f"timeout {timeout}: a number of seconds above 0 is expected")
        require(0 <= retries <= 100, f"retries {retries}: 0 to 100 is expected")
        require(min(backoff, longest_wait) >= 0, "backoff, longest_wait: 0 or more is expected")
        require(
            OMITTABLE_FIELDS.issuperset(omit_fields),
            f"omit_fields {list(omit_fields)}: a list of {', '.join(sorted(OMITTABLE_FIELDS))}",
        )
        extra_body = {} if extra_body is None else extra_body
        check_extra_body(extra_body, max_tokens_field)
        endpoints = [
            Endpoint(url, slots=concurrency, longest_rest=longest_wait)
            for url in completions_urls(addresses(base_url, base_url_env))
        ]
        key = api_key(api_key_env)
        slots = concurrency * len(endpoints)
        waits = leader_first or len(endpoints) > 1
        self._capacity = slots * _ASKED_PER_SLOT if waits else slots
        self._free_moves = len(endpoints) - 1
        self._retries = retries
        self._backoff = Backoff(first=backoff, longest=longest_wait)
        self._endpoints = endpoints
        self._pool = Pool(endpoints, leader_first=leader_first)
        self._advice = Advice(
            model=checkpoint,
            max_tokens_field=max_tokens_field,
            omittable=sorted(OMITTABLE_FIELDS.difference(omit_fields, extra_body)),
            extra=sorted(extra_body),
            key_variable=api_key_env,
            has_key=key is not None,
        )
        self._transport = Transport(
            connections=slots,
            timeout=timeout,
            key=key,
            advice=self._advice,
            by_path=send_images == "by-path",
            reason_required=finish_reason_required,
        )
        self._servers = Servers(
            self._transport.get,
            [endpoint.url for endpoint in endpoints],
            model=checkpoint,
            omit=omit_fields,
            extra=extra_body,
            must_agree=check_endpoints,
        )
        self._images = ImageEncoder(
            _SEND_IMAGES[send_images], cache_bytes=int(image_cache_mb * 1e6)
        )
        self._format = BodyFormat(
            model=checkpoint,
            max_tokens_field=max_tokens_field,
            omit=tuple(omit_fields),
            extra=dict(extra_body),
            image_detail=image_detail,
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

    @classmethod
    def check(cls, **settings: Any) -> None:
        """Check the settings; the constructor does no more than that. Raises `AdapterError`."""
        cls(**settings)

    @property
    def max_concurrency(self) -> int:
        """Several times the requests that are under way at once: some wait for others."""
        return self._capacity

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
