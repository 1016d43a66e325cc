"""Posting a body to a chat-completions server once, and telling what a failure means."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from migbench.messages import Answer, redact
from model_adapters.openai.advice import Advice, missing_version, unreachable
from model_adapters.openai.backoff import retry_after_seconds
from model_adapters.openai.body import Pieces
from model_adapters.openai.endpoints import STRIKES_OUT, AttemptFailed
from model_adapters.openai.reply import Reply, ReplyFailed, read_reply
from model_adapters.openai.server_errors import ServerError, error_in, parsed, server_message

_REPLY_LIMIT = 8 * 2**20
"""Bytes of a reply that are read; an answer of a hundred thousand tokens stays far below."""

_CONNECT_SECONDS = 9.0
"""Longer than it takes a busy server to accept (SYN is sent again after 1, 3 and 7 s)."""

_PROBE_SECONDS = 3.0
"""For whether a server is there; half of it for the connection."""

_IDENTITY_SECONDS = 10.0
"""For what a server says of itself; one that takes longer has nothing to say."""

_KEEP_ALIVE_SECONDS = 4.0
"""Idle connections are given up before uvicorn, under vLLM and SGLang, closes them after 5 s."""

_PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Client errors that are worth another attempt, as all server errors (5xx) are."""

_NO_BACKEND = frozenset({502, 503, 504})
"""What a proxy says while the server behind it is down."""

_WRONG_PLACE_STATUSES = frozenset({401, 403, 404, 405})
"""Client errors that every request meets at an endpoint with another key, path or model."""

_MESSAGE_LENGTH = 500
"""Characters of a server's message that are kept: what is wrong, without a page of HTML."""

_PAGE = re.compile(rb"<(?:!doctype|html|head|body)\b", re.IGNORECASE)

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
    connecting to the last byte of the reply. ``advice`` knows the way out of a refusal. Without
    ``reason_required`` an answer without a ``finish_reason`` is a finished one.
    """

    def __init__(
        self,
        *,
        connections: int,
        timeout: float,
        key: str | None,
        advice: Advice,
        by_path: bool,
        reason_required: bool = True,
    ) -> None:
        self._connections = connections
        self._timeout = timeout
        self._key = key
        self._advice = advice
        self._by_path = by_path
        self._reason_required = reason_required
        self._client: aiohttp.ClientSession | None = None

    async def ask(self, url: str, body: Pieces, served: Sequence[str] = ()) -> Reply:
        """Ask once; the answer's ``seconds`` are this attempt's. Raises `AttemptFailed`.

        ``served`` are the models that the server lists.
        """
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
                self._described(url, reason),
                passes=True,
                strikes=1 if alone else STRIKES_OUT,
                no_connection=not alone,
            ) from error
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
            reason = self._described(url, str(error), unreachable(error, url))
            raise AttemptFailed(reason, strikes=STRIKES_OUT) from None
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            reason = self._described(url, reason, unreachable(error, url))
            # Not chained, like all below: the first message may repeat the key.
            raise AttemptFailed(
                reason,
                passes=True,
                strikes=STRIKES_OUT,
                no_connection=isinstance(error, aiohttp.ClientConnectorError),
            ) from None
        seconds = time.perf_counter() - started
        if not 200 <= response.status < 300:
            return self._refused(url, response, content, served, seconds)
        try:
            return read_reply(content, seconds, reason_required=self._reason_required)
        except ReplyFailed as failure:
            # A page in place of an answer may be that of a server whose API lies elsewhere.
            hint = missing_version(url) if _PAGE.search(content[:1000]) else ""
            hint = f" ({hint})" if hint else ""
            message = self._described(url, str(failure), hint)
            if failure.status is None:
                raise AttemptFailed(message) from None
            wait = retry_after_seconds(response.headers.get("Retry-After"))
            raise self._of_status(failure.status, message, wait) from None

    async def get(self, url: str) -> tuple[int, bytes] | None:
        """What stands at another of the server's addresses: status and body.

        None where no connection comes about; status 0 where the server has nothing to say.
        """
        seconds = min(self._timeout, _IDENTITY_SECONDS)
        try:
            async with self._session().get(
                url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=seconds)
            ) as response:
                return response.status, await self._read(url, response)
        except (TimeoutError, AttemptFailed):
            return 0, b""
        except (aiohttp.ClientError, OSError):
            return None

    async def probe(self, url: str) -> tuple[int, bytes]:
        """Status and body of an address, within seconds; status 0 where nothing came in time.

        Raises `AttemptFailed` where no connection comes about.
        """
        within = aiohttp.ClientTimeout(total=_PROBE_SECONDS, sock_connect=_PROBE_SECONDS / 2)
        try:
            async with self._session().get(url, allow_redirects=False, timeout=within) as response:
                return response.status, await self._read(url, response)
        except aiohttp.ConnectionTimeoutError:
            raise AttemptFailed(self._described(url, "no connection comes about")) from None
        except TimeoutError:
            return 0, b""
        except (aiohttp.ClientError, OSError) as error:
            hint = unreachable(error, url).removeprefix(" (").removesuffix(")")
            reason = hint or str(error) or type(error).__name__
            raise AttemptFailed(self._described(url, reason)) from None

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

    def _refused(
        self,
        url: str,
        response: aiohttp.ClientResponse,
        content: bytes,
        served: Sequence[str],
        seconds: float,
    ) -> Reply:
        """What a status other than 200 means: a filter's refusal, or `AttemptFailed`."""
        status = response.status
        error = _error_of(content)
        if 300 <= status < 400:
            target = response.headers.get("Location", "nowhere")
            reason = (
                f"{status}: redirects to {target}, which is not followed; "
                "give the API's final address as --endpoint"
            )
            raise AttemptFailed(self._described(url, reason), strikes=STRIKES_OUT)
        if status < 500 and error.is_filter:
            return Reply(Answer(redact(error.message), seconds=seconds, refused=True))
        advice = self._advice.on(status, error, url, served)
        message = self._described(url, f"{status} {response.reason or ''}: {error.message}", advice)
        if self._by_path and (
            _PATH_REFUSED.search(error.message)
            or (status < 500 and _URL_UNKNOWN.search(error.message))
        ):
            raise AttemptFailed(message + _BY_PATH_HINT, strikes=STRIKES_OUT)
        wait = retry_after_seconds(response.headers.get("Retry-After"))
        raise self._of_status(status, message, wait)

    def _of_status(self, status: int, message: str, retry_after: float = 0.0) -> AttemptFailed:
        """The failure that a status is, wherever the server has said it."""
        if status >= 500 or status in _PASSING_STATUSES:
            strikes = 1 if status >= 500 else 0
            return AttemptFailed(
                message,
                passes=True,
                strikes=strikes,
                retry_after=retry_after,
                no_backend=status in _NO_BACKEND,
            )
        strikes = STRIKES_OUT if status in _WRONG_PLACE_STATUSES else 0
        return AttemptFailed(message, strikes=strikes)

    def _described(self, url: str, reason: str, advice: str = "") -> str:
        """A reason with the address in front, without secrets and shortened, and what to do.

        Secrets are taken out first: of a key that is cut, half could stay.
        """
        reason = redact(reason)
        if len(reason) > _MESSAGE_LENGTH:
            reason = reason[: _MESSAGE_LENGTH - 1] + "…"
        return f"{redact(url)}: {reason}{redact(advice)}"


def _error_of(content: bytes) -> ServerError:
    """The error in the body of a reply that is one by its status."""
    try:
        error = error_in(parsed(content))
    except (ValueError, RecursionError):
        error = None
    return error or ServerError(server_message(content))


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
