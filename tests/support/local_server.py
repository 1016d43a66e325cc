"""An OpenAI-compatible chat-completions server on loopback, for tests.

It is stricter than real servers about what it is sent, answers from the content of a request alone
(a box in Qwen2-VL's form), and fails on purpose, by seed, in the ways in which servers fail. In a
test's own process::

    with LocalServer(Behaviour(fail_rate=0.2)) as server:
        ...  # server.base_url, server.received

or in one of its own, so that a client can be killed while the server lives on::

    PYTHONPATH=tests python -m support.local_server --port-file PORT --log LOG

The log holds one JSON line (`Received.record`) for each request that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from aiohttp import web

from support.chat_format import BadRequest, completion, error, request_hash, validated_images

PASSING_FAILURES = ("500", "503", "429", "drop")
MALFORMED_REPLIES = {
    "not_json": b"<html>It works!</html>",
    "no_choices": b'{"object": "chat.completion", "choices": []}',
    "null_content": b'{"choices": [{"finish_reason": "stop", "message": {"content": null}}]}',
}


@dataclass(frozen=True)
class Behaviour:
    """How the server misbehaves. Rates are shares, drawn by ``seed`` and the request's content.

    ``fail_rate`` is drawn anew for each attempt; the others are a request's lasting fate.
    A server with a ``key`` answers who sends it alone. It stops listening when it has answered
    ``stop_after`` requests, and says of its model that it is of the folder ``root``. Times are in
    seconds. A process ends by SIGKILL when request number ``die_at`` arrives. Images
    by path are opened below ``media_folder``.
    """

    fail_rate: float = 0.0
    fail_forever_rate: float = 0.0
    reject_rate: float = 0.0
    malformed_rate: float = 0.0
    truncated_rate: float = 0.0
    slow_rate: float = 0.0
    slow: float = 1.0
    delay: float = 0.0
    die_at: int = -1
    max_images: int = 1000
    media_folder: str = ""
    model: str = ""
    key: str = ""
    root: str = ""
    stop_after: int = -1
    seed: int = 0

    def fate(self, request: str, attempt: int) -> str:
        """What becomes of an attempt: a status, ``drop``, ``truncated``, ``answer`` or the name
        of a malformed reply."""
        if self._share("forever", request) < self.fail_forever_rate:
            return "500"
        if self._share("reject", request) < self.reject_rate:
            return "400"
        if self._share("fail", request, attempt) < self.fail_rate:
            return self._choice(PASSING_FAILURES, "failure", request, attempt)
        if self._share("malformed", request) < self.malformed_rate:
            return self._choice(tuple(MALFORMED_REPLIES), "malformed", request)
        if self._share("truncated", request) < self.truncated_rate:
            return "truncated"
        return "answer"

    def wait(self, request: str) -> float:
        is_slow = self._share("slow", request) < self.slow_rate
        return self.slow if is_slow else self.delay

    def _share(self, *what: object) -> float:
        """A number from 0 to 1 that depends on nothing but ``what`` and the seed."""
        digest = hashlib.sha256(repr((self.seed, what)).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _choice(self, options: tuple[str, ...], *what: object) -> str:
        return options[int(self._share("which", *what) * len(options))]


@dataclass(frozen=True)
class Scripted:
    """One reply in full, given to whichever request comes next. ``drop`` closes the connection."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


@dataclass(frozen=True)
class Received:
    """A request as it arrived. ``request`` identifies its content; attempts count from 0.

    ``siblings_*`` are the other requests about the same images until then.
    """

    arrival: int
    request: str
    attempt: int
    image_set: str
    images: tuple[str, ...]
    fate: str
    in_flight: int
    siblings_in_flight: int
    siblings_answered: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    image_bytes: tuple[bytes, ...]

    def record(self) -> dict[str, Any]:
        """What the log keeps: hashes instead of content."""
        left_out = {"body", "headers", "image_bytes"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}


def box_of(request: str) -> str:
    """The answer to a request: a proper box in thousandths, a function of its content."""
    draws = [int.from_bytes(bytes.fromhex(request[i : i + 4]), "big") for i in range(0, 16, 4)]
    left, top = draws[0] % 900, draws[1] % 900
    right, bottom = left + 1 + draws[2] % (999 - left), top + 1 + draws[3] % (999 - top)
    return f"({left},{top}),({right},{bottom})"


class LocalServer:
    """The server in a thread of its own. ``script`` is followed before ``behaviour``."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        script: Iterable[Scripted] = (),
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.received: list[Received] = []
        self.base_url = ""
        self._script = iter(script)
        self._log = log
        self._port = port
        self._siblings: Counter[str] = Counter()
        self._siblings_answered: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._arrivals = 0
        self._in_flight = 0

    def __enter__(self) -> LocalServer:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run_in_thread(started)))
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the local server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @property
    def most_in_flight(self) -> int:
        return max((received.in_flight for received in self.received), default=0)

    async def _run_in_thread(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        runner = await self.start()
        started.set()
        await self._stopped.wait()
        await runner.cleanup()

    async def start(self) -> web.AppRunner:
        """Listen on 127.0.0.1, by default on a free port; the runner's ``cleanup`` ends that."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/api/chat/completions", self._complete)
        app.router.add_get("/{path:.*}", self._tell)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._site = web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        host, port = runner.addresses[0][:2]
        self.port = int(port)
        self.base_url = f"http://{host}:{port}/v1"
        return runner

    async def _tell(self, http: web.Request) -> web.Response:
        if self._is_locked(http):
            return web.json_response({"error": {"message": "Unauthorized"}}, status=401)
        page = self.page(http.path)
        return web.json_response(page) if page is not None else web.Response(status=404)

    def _is_locked(self, http: web.Request) -> bool:
        key = self.behaviour.key
        return bool(key) and http.headers.get("Authorization") != f"Bearer {key}"

    def page(self, path: str) -> object | None:
        """What the server says of itself at a path, if anything."""
        if path != "/v1/models":
            return None
        # Without a model of its own it answers as whatever is asked for, and lists nothing.
        served = [{"id": self.behaviour.model}] if self.behaviour.model else []
        if served and self.behaviour.root:
            served[0]["root"] = self.behaviour.root
        return {"object": "list", "data": served}

    async def _complete(self, http: web.Request) -> web.Response:
        arrival, self._arrivals = self._arrivals, self._arrivals + 1
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            raw = await http.read()
            return await self._reply(http, raw, arrival, in_flight)
        finally:
            self._in_flight -= 1

    async def _reply(
        self, http: web.Request, raw: bytes, arrival: int, in_flight: int
    ) -> web.Response:
        scripted = next(self._script, None)
        body: dict[str, Any] = {}
        images: list[bytes] = []
        problem = ""
        try:
            body = json.loads(raw)
            images = validated_images(
                body,
                self.behaviour.model,
                self.behaviour.max_images,
                self.behaviour.media_folder,
            )
        except (BadRequest, ValueError, KeyError, TypeError) as reason:
            problem = f"{type(reason).__name__}: {reason}"
        hashes = tuple(hashlib.sha256(image).hexdigest()[:16] for image in images)
        request = hashlib.sha256(raw).hexdigest() if problem else request_hash(body, hashes)
        attempt = self._attempts[request]
        self._attempts[request] += 1
        fate = "400" if problem else self.behaviour.fate(request, attempt)
        image_set = hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
        received = Received(
            arrival=arrival,
            request=request,
            attempt=attempt,
            image_set=image_set,
            images=hashes,
            fate="scripted" if scripted else fate,
            in_flight=in_flight,
            siblings_in_flight=self._siblings[image_set],
            siblings_answered=self._siblings_answered[image_set],
            body=body,
            headers=dict(http.headers),
            image_bytes=tuple(images),
        )
        self._remember(received)
        if arrival == self.behaviour.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        delay = scripted.delay if scripted else self.behaviour.wait(request)
        scripted = scripted or reply_for(fate, request, problem)
        self._siblings[image_set] += 1
        try:
            await asyncio.sleep(delay)
        finally:
            self._siblings[image_set] -= 1
        if 0 <= self.behaviour.stop_after <= arrival:
            if arrival == self.behaviour.stop_after:
                await self._site.stop()
            scripted = Scripted(drop=True)
        self._siblings_answered[image_set] += scripted.status == 200 and not scripted.drop
        if scripted.drop and http.transport is not None:
            http.transport.abort()
        return web.Response(
            body=scripted.body,
            status=scripted.status,
            headers={"Content-Type": "application/json", **scripted.headers},
        )

    def _remember(self, received: Received) -> None:
        if self._log is None:
            self.received.append(received)
            return
        # A server that only logs must not grow with every megabyte that it is sent.
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(received.record()) + "\n")


def reply_for(fate: str, request: str, problem: str) -> Scripted:
    """The reply that a fate stands for."""
    match fate:
        case "answer":
            return Scripted(completion(box_of(request)))
        case "truncated":
            return Scripted(completion(box_of(request)[:6], finish_reason="length"))
        case "drop":
            return Scripted(drop=True)
        case "429":
            return Scripted(error("slow down"), status=429, headers={"Retry-After": "0"})
        case "400" | "500" | "503":
            return Scripted(error(problem or f"failing on purpose: {fate}"), status=int(fate))
    return Scripted(MALFORMED_REPLIES[fate])


def read_log(log: Path) -> list[dict[str, Any]]:
    """The log's records in order of arrival."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return sorted(map(json.loads, lines), key=lambda record: int(record["arrival"]))


@contextmanager
def server_process(folder: Path, behaviour: Behaviour | None = None) -> Iterator[tuple[str, Path]]:
    """The server in a process of its own; gives its base URL and its log."""
    port_file, log = folder / "port", folder / "received.jsonl"
    port_file.unlink(missing_ok=True)  # of a server that ran here before
    options = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in asdict(behaviour or Behaviour()).items()
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, f"--port-file={port_file}", f"--log={log}", *options],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        deadline = time.monotonic() + 20
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the local server did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}/v1", log
    finally:
        process.terminate()
        process.wait()


async def serve(behaviour: Behaviour, port_file: Path, log: Path) -> None:
    """Serve until terminated."""
    server = LocalServer(behaviour, log=log)
    runner = await server.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # Renamed into place: whoever waits for the file never reads half of it.
    unfinished = port_file.with_suffix(".unfinished")
    unfinished.write_text(str(runner.addresses[0][1]))
    unfinished.rename(port_file)
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    """Read the options, one for each field of `Behaviour`, and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    for option in fields(Behaviour):
        name = f"--{option.name.replace('_', '-')}"
        parser.add_argument(name, type=type(option.default), default=option.default)
    options = vars(parser.parse_args())
    port_file, log = options.pop("port_file"), options.pop("log")
    asyncio.run(serve(Behaviour(**options), port_file, log))


if __name__ == "__main__":
    main()
