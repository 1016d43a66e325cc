"""Posting a body to a chat-completions server once, and telling what a failure means."""

from __future__ import annotations

import re
import time

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from migbench.messages import Answer, ModelError
from model_adapters.openai.backoff import retry_after_seconds
from model_adapters.openai.body import Pieces
from model_adapters.openai.endpoints import STRIKES_OUT, AttemptFailed
from model_adapters.openai.reply import read_answer, server_message

_REPLY_LIMIT = 8 * 2**20
"""Bytes of a reply that are read; an answer of a hundred thousand tokens stays far below."""

_CONNECT_SECONDS = 30.0

_KEEP_ALIVE_SECONDS = 4.0
"""Idle connections are given up before uvicorn, under vLLM and SGLang, closes them after 5 s."""

_PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Client errors that are worth another attempt, as all server errors (5xx) are."""

_WRONG_PLACE_STATUSES = frozenset({401, 403, 404, 405})
"""Client errors that every request meets at an endpoint with another key, path or model."""

_MESSAGE_LENGTH = 500
"""Characters of a server's message that are kept: what is wrong, without a page of HTML."""

_PATH_REFUSED = re.compile(r"local.(media|file)|media.path|no such file", re.IGNORECASE)
"""Words of servers that forbid local files or do not find them; some call it their own error."""

_URL_UNKNOWN = re.compile(r"file://|image.?url|scheme|protocol", re.IGNORECASE)
"""Words of servers that refuse a request because they know no addresses of files."""

_BY_PATH_HINT = (
    " (images are sent by path: the server must see the same files and allow it, vLLM by "
    "--allowed-local-media-path FOLDER; --send-images bytes works everywhere)"
)


class Transport:
    """The connections to all endpoints of one adapter.

    ``connections`` is the most that are open at once, ``timeout`` the seconds for one attempt, from
    connecting to the last byte of the reply. ``key_variable`` is where ``key`` was taken from.
    """

    def __init__(
        self,
        *,
        connections: int,
        timeout: float,
        key: str | None,
        key_variable: str,
        by_path: bool,
    ) -> None:
        self._connections = connections
        self._timeout = timeout
        self._key = key
        self._key_variable = key_variable
        self._by_path = by_path
        self._client: aiohttp.ClientSession | None = None

    async def ask(self, url: str, body: Pieces) -> Answer:
        """Ask once; the answer's ``seconds`` are this attempt's. Raises `AttemptFailed`."""
        started = time.perf_counter()
        try:
            async with self._session().post(
                url, data=_PiecesPayload(body), allow_redirects=False
            ) as response:
                content = await self._read(url, response)
        except TimeoutError as error:
            reason = str(error) or f"no reply within {self._timeout:g} s"
            # One request may take too long by itself; a server that hangs fails many.
            alone = not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise AttemptFailed(
                self._described(url, reason), passes=True, strikes=1 if alone else STRIKES_OUT
            ) from error
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            raise AttemptFailed(self._described(url, str(error)), strikes=STRIKES_OUT) from error
        except (aiohttp.ClientError, OSError) as error:
            reason = self._described(url, str(error) or type(error).__name__)
            raise AttemptFailed(reason, passes=True, strikes=STRIKES_OUT) from error
        if response.status != 200:
            raise self._failure(url, response, content)
        try:
            return read_answer(content, seconds=time.perf_counter() - started)
        except ModelError as error:
            # Not chained: the first message may repeat the key.
            raise AttemptFailed(self._described(url, str(error))) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _session(self) -> aiohttp.ClientSession:
        """The connections, made when first needed: they belong to the event loop that runs then."""
        if self._client is None:
            headers = {"Accept-Encoding": "identity"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._client = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout, sock_connect=min(self._timeout, _CONNECT_SECONDS)
                ),
                # A few compressed bytes could stand for gigabytes; none were asked for.
                auto_decompress=False,
            )
        return self._client

    async def _read(self, url: str, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > _REPLY_LIMIT:
                reason = f"the reply is larger than {_REPLY_LIMIT // 2**20} MiB"
                raise AttemptFailed(self._described(url, reason))
        return bytes(content)

    def _failure(self, url: str, response: aiohttp.ClientResponse, content: bytes) -> AttemptFailed:
        """What a status other than 200 means."""
        status = response.status
        reason = server_message(content)
        message = self._described(url, f"{status} {response.reason or ''}: {reason}")
        if self._by_path and (
            _PATH_REFUSED.search(reason) or (status < 500 and _URL_UNKNOWN.search(reason))
        ):
            return AttemptFailed(message + _BY_PATH_HINT, strikes=STRIKES_OUT)
        if status >= 500 or status in _PASSING_STATUSES:
            wait = retry_after_seconds(response.headers.get("Retry-After"))
            strikes = 1 if status >= 500 else 0
            return AttemptFailed(message, passes=True, strikes=strikes, retry_after=wait)
        if 300 <= status < 400:
            target = response.headers.get("Location", "nowhere")
            message = self._described(
                url,
                f"{status}: redirects to {target}, which is not followed; "
                "set base_url to the API's final address",
            )
            return AttemptFailed(message, strikes=STRIKES_OUT)
        if status in {401, 403}:
            state = "is set" if self._key else "is not set"
            message += f" (the key is taken from {self._key_variable}, which {state})"
        strikes = STRIKES_OUT if status in _WRONG_PLACE_STATUSES else 0
        return AttemptFailed(message, strikes=strikes)

    def _described(self, url: str, reason: str) -> str:
        """A reason with the address in front, shortened, and without the key if it is repeated."""
        if self._key:
            # Before shortening, which could leave half a key; whole words only, since the keys of
            # local servers are often no more than a letter.
            reason = re.sub(rf"(?<!\w){re.escape(self._key)}(?!\w)", "[key]", reason)
        if len(reason) > _MESSAGE_LENGTH:
            reason = reason[: _MESSAGE_LENGTH - 1] + "…"
        return f"{url}: {reason}"


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
