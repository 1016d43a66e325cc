"""A client that does nothing but post: the original bytes of the images, and a text.

    python benchmarks/bare_client.py aiohttp|httpx URL FOLDER --count 500

No run folder, no prompts, no retries, no scores: what is left is the cost of sending.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

CONCURRENCY = 32
HEADERS = {"Content-Type": "application/json"}
HTTPX = ("httpx", "httpx2")
"""httpx, by the names under which it is published."""

Post = Callable[[bytes], Awaitable[None]]


@lru_cache(maxsize=150)
def data_url(path: Path) -> bytes:
    """An image part of a message; about 64 MB of them are kept."""
    encoded = b2a_base64(path.read_bytes(), newline=False)
    return (
        b'{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,' + encoded + b'"}}, '
    )


def read_requests(folder: Path, count: int) -> list[dict[str, Any]]:
    """The first ``count`` requests: each the names of its ``images``, and its ``text``."""
    requests: list[dict[str, Any]] = json.loads((folder / "requests.json").read_text())
    return requests[:count]


def bodies(folder: Path, count: int) -> Iterator[bytes]:
    """The bodies of the first ``count`` requests, each made when it is asked for."""
    frame = {"model": "served", "max_tokens": 128, "temperature": 0.0}
    before = json.dumps(frame)[:-1] + ', "messages": [{"role": "user", "content": ['
    for request in read_requests(folder, count):
        images = [data_url(folder / name) for name in request["images"]]
        text = json.dumps({"type": "text", "text": request["text"]}) + "]}]}"
        yield b"".join([before.encode(), *images, text.encode()])


async def post_all(post: Post, waiting: Iterator[bytes]) -> None:
    """Post all bodies in order, up to `CONCURRENCY` at once."""

    async def work() -> None:
        for body in waiting:
            await post(body)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


async def with_aiohttp(url: str, waiting: Iterator[bytes]) -> None:
    """Post with aiohttp."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post(body: bytes) -> None:
            async with session.post(url, data=body) as response:
                response.raise_for_status()
                await response.json()

        await post_all(post, waiting)


async def with_httpx(url: str, waiting: Iterator[bytes]) -> None:
    """Post with httpx, under whichever of its names is installed."""
    name = installed_httpx()
    if name is None:
        raise SystemExit("httpx is not installed")
    httpx = importlib.import_module(name)
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(
        limits=limits, headers=HEADERS, trust_env=False, timeout=600
    ) as client:

        async def post(body: bytes) -> None:
            response = await client.post(url, content=body)
            response.raise_for_status()
            response.json()

        await post_all(post, waiting)


def installed_httpx() -> str | None:
    """The name under which httpx is installed, or None."""
    return next((name for name in HTTPX if importlib.util.find_spec(name)), None)


CLIENTS = {"aiohttp": with_aiohttp, "httpx": with_httpx}


def main() -> None:
    """Read the options and post."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("client", choices=[*CLIENTS])
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    url = f"{options.url}/chat/completions"
    asyncio.run(CLIENTS[options.client](url, bodies(options.folder, options.count)))


if __name__ == "__main__":
    main()
