"""A server that speaks OpenAI's chat-completions API: vLLM, SGLang, or a hosted model.

Original image bytes travel as data URLs. Requests leave in the order in which they are asked, so
that the server's prefix cache sees one image set after another. Failures that pass (a busy or
restarting server, a lost connection, a time-out) are retried; all others are a `ModelError` at
once, with the server's own words.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from migbench.messages import Answer, ModelError, Request
from model_adapters.openai.backoff import Backoff, retry_after_seconds
from model_adapters.openai.body import BodyFormat, Pieces
from model_adapters.openai.images import ImageEncoder
from model_adapters.openai.reply import read_answer, server_message
from model_adapters.openai.settings import (
    OMITTABLE_FIELDS,
    api_key,
    check_extra_body,
    completions_url,
    require,
)

_REPLY_LIMIT = 8 * 2**20
"""Bytes of a reply that are read; an answer of a hundred thousand tokens stays far below."""

_CONNECT_SECONDS = 30.0

_KEEP_ALIVE_SECONDS = 4.0
"""Idle connections are given up before uvicorn, under vLLM and SGLang, closes them after 5 s."""

_PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Client errors that are worth another attempt, as all server errors (5xx) are."""

_MESSAGE_LENGTH = 500
"""Characters of a server's message that are kept: what is wrong, without a page of HTML."""


class OpenAIAdapter:
    """A model behind an OpenAI-compatible server; the keywords of the constructor are its settings.

    - ``checkpoint``: the model's name, as the server knows it.
    - ``base_url``: the API's address, up to and with its version: ``http://127.0.0.1:8000/v1``.
    - ``concurrency``: requests under way at once, each on a connection of its own.
    - ``timeout``: seconds for one attempt, from connecting to the last byte of the reply.
    - ``retries``: further attempts after a failure that may pass.
    - ``backoff``, ``longest_wait``: seconds before the first retry, doubled for each further one,
      and the most that is ever waited, whatever ``Retry-After`` says.
    - ``api_key_env``: the environment variable that holds the key. Local servers need none.
    - ``max_tokens_field``: ``max_completion_tokens`` for servers that no longer take the other.
    - ``omit_fields``: which of ``temperature``, ``top_p`` and ``seed`` the server does not accept.
    - ``extra_body``: further fields of the body, such as ``{"skip_special_tokens": false}``.
    - ``image_detail``: ``low``, ``high`` or ``auto``, where the server knows it.
    - ``image_cache_mb``: megabytes of encoded images that are kept for the next request.

    Redirects are not followed, and proxies and ``.netrc`` files are not consulted.
    """

    SERVING = frozenset(
        {
            "base_url",
            "concurrency",
            "timeout",
            "retries",
            "backoff",
            "longest_wait",
            "api_key_env",
            "max_tokens_field",
            "image_cache_mb",
        }
    )
    """The settings that do not change what the model says."""

    def __init__(
        self,
        *,
        checkpoint: str,
        base_url: str,
        concurrency: int = 32,
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
    ) -> None:
        """Check the settings and read the key. Raises `AdapterError`; connects to nothing yet."""
        require(concurrency >= 1, f"concurrency {concurrency}: at least 1 is expected")
        require(timeout > 0, f"timeout {timeout}: a number of seconds above 0 is expected")
        require(0 <= retries <= 100, f"retries {retries}: 0 to 100 is expected")
        require(min(backoff, longest_wait) >= 0, "backoff, longest_wait: 0 or more is expected")
        require(
            OMITTABLE_FIELDS.issuperset(omit_fields),
            f"omit_fields {list(omit_fields)}: a list of {', '.join(sorted(OMITTABLE_FIELDS))}",
        )
        extra_body = {} if extra_body is None else extra_body
        check_extra_body(extra_body, max_tokens_field)
        self._url = completions_url(base_url)
        self._timeout = timeout
        self._retries = retries
        self._backoff = Backoff(first=backoff, longest=longest_wait)
        self._api_key_env = api_key_env
        self._api_key = api_key(api_key_env)
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._client: aiohttp.ClientSession | None = None
        self._images = ImageEncoder(cache_bytes=int(image_cache_mb * 1e6))
        self._format = BodyFormat(
            model=checkpoint,
            max_tokens_field=max_tokens_field,
            omit=tuple(omit_fields),
            extra=dict(extra_body),
            image_detail=image_detail,
        )

    @property
    def capacity(self) -> int:
        """The setting ``concurrency``."""
        return self._concurrency

    @property
    def needs_images(self) -> bool:
        """Yes: their bytes are sent."""
        return True

    async def answer(self, request: Request) -> Answer:
        """Answer one request; its ``seconds`` are those of the attempt that succeeded.

        Raises `ModelError` when an image cannot be sent, the server refuses the request, its reply
        is malformed, or no attempt succeeded.
        """
        # A slot is kept while waiting to retry: that is what makes a busy server less busy.
        async with self._slots:
            images = await self._images.encode(request.images)
            body = self._format.pieces(request, images)
            attempt = 0
            while True:
                try:
                    return await self._attempt(body)
                except _PassingFailure as failure:
                    if attempt == self._retries:
                        raise ModelError(f"{failure} (attempts: {attempt + 1})") from failure
                    await asyncio.sleep(self._backoff.seconds(attempt, failure.retry_after))
                    attempt += 1

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _attempt(self, body: Pieces) -> Answer:
        """Ask once. Raises `ModelError` for a lasting failure, `_PassingFailure` for others."""
        started = time.perf_counter()
        try:
            async with self._session().post(
                self._url, data=_PiecesPayload(body), allow_redirects=False
            ) as response:
                content = await self._read(response)
        except TimeoutError as error:
            reason = str(error) or f"no reply within {self._timeout:g} s"
            raise _PassingFailure(self._described(reason)) from error
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            raise ModelError(self._described(str(error))) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise _PassingFailure(self._described(reason)) from error
        if response.status != 200:
            raise self._failure(response, content)
        try:
            return read_answer(content, seconds=time.perf_counter() - started)
        except ModelError as error:
            # Not chained: the first message may repeat the key.
            raise ModelError(self._described(str(error))) from None

    def _session(self) -> aiohttp.ClientSession:
        """The connections, made when first needed: they belong to the event loop that runs then."""
        if self._client is None:
            headers = {"Accept-Encoding": "identity"}
            if self._api_key:
                headers["Authorization"] = f"Bearer {self._api_key}"
            self._client = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(
                    limit=self._concurrency, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout, sock_connect=min(self._timeout, _CONNECT_SECONDS)
                ),
                # A few compressed bytes could stand for gigabytes; none were asked for.
                auto_decompress=False,
            )
        return self._client

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > _REPLY_LIMIT:
                raise ModelError(
                    self._described(f"the reply is larger than {_REPLY_LIMIT // 2**20} MiB")
                )
        return bytes(content)

    def _failure(self, response: aiohttp.ClientResponse, content: bytes) -> Exception:
        """What to raise for a status other than 200."""
        status = response.status
        message = self._described(f"{status} {response.reason or ''}: {server_message(content)}")
        if status in _PASSING_STATUSES or status >= 500:
            return _PassingFailure(
                message, retry_after_seconds(response.headers.get("Retry-After"))
            )
        if 300 <= status < 400:
            target = response.headers.get("Location", "nowhere")
            message = self._described(
                f"{status}: redirects to {target}, which is not followed; "
                "set base_url to the API's final address"
            )
        if status in {401, 403}:
            state = "is set" if self._api_key else "is not set"
            message += f" (the key is taken from {self._api_key_env}, which {state})"
        return ModelError(message)

    def _described(self, reason: str) -> str:
        """A reason with the address in front, shortened, and without the key if it is repeated."""
        if self._api_key:
            # Before shortening, which could leave half a key; whole words only, since the keys of
            # local servers are often no more than a letter.
            reason = re.sub(rf"(?<!\w){re.escape(self._api_key)}(?!\w)", "[key]", reason)
        if len(reason) > _MESSAGE_LENGTH:
            reason = reason[: _MESSAGE_LENGTH - 1] + "…"
        return f"{self._url}: {reason}"


class _PassingFailure(Exception):
    """An attempt failed in a way that another one may not; ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _PiecesPayload(aiohttp.Payload):
    """Sends the pieces of a body one by one: half the memory and fewer copies than one string."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__(pieces, content_type="application/json")
        self._size = sum(len(piece) for piece in pieces)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await writer.write(piece)
