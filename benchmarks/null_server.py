"""A chat-completions server that reads a request and answers at once, on loopback; for Linux.

    python benchmarks/null_server.py --port-file PORT --log LOG

The log holds one JSON line (`Arrival`) a request, in the order in which their last bytes arrived.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_COMPLETION = json.dumps(
    {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "<|box_start|>(100,200),(400,600)<|box_end|>",
                },
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()

_REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    + f"Content-Length: {len(_COMPLETION)}\r\n\r\n".encode()
    + _COMPLETION
)

_LARGEST_BODY = 2**28
_CHUNK = 2**18
_ONE_EVENT = select.EPOLLIN | select.EPOLLONESHOT


@dataclass(frozen=True)
class Arrival:
    """One request: its place by first and by last byte, its body's bytes, and what it showed.

    ``at`` is when it began, by the monotonic clock.
    """

    begun: int
    ended: int
    at: float
    bytes: int
    images: int
    image_set: str


class Connection:
    """One client's connection; ``log`` and ``counts`` (begun, ended) are shared by all."""

    def __init__(self, sock: socket.socket, log: IO[str], counts: list[int]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._log = log
        self._counts = counts
        self._received = bytearray()
        self._begun = 0
        self._at = 0.0
        self._end = 0
        self._body = 0

    def read(self) -> bool:
        """Take some of what has come, and answer what is complete; whether there may be more."""
        try:
            data = self._socket.recv(_CHUNK)
            self._received += data
            if (self._end or self._read_headers()) and len(self._received) >= self._end:
                self._answer()
        except BlockingIOError:
            return True
        except (ConnectionError, _NotForUs):
            data = b""
        if not data:
            self._socket.close()
        return bool(data)

    def _read_headers(self) -> bool:
        blank = self._received.find(b"\r\n\r\n")
        if blank < 0:
            return False
        self._body = blank + 4
        headers = bytes(self._received[:blank]).lower().split(b"\r\n")
        lengths = [line.split(b":")[1] for line in headers if line.startswith(b"content-length:")]
        if len(lengths) != 1 or not 0 < int(lengths[0]) <= _LARGEST_BODY:
            self._socket.send(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n")
            raise _NotForUs
        self._end = self._body + int(lengths[0])
        self._begun, self._counts[0] = self._counts[0], self._counts[0] + 1
        self._at = time.monotonic()
        return True

    def _answer(self) -> None:
        ended, self._counts[1] = self._counts[1], self._counts[1] + 1
        body = bytes(self._received[self._body : self._end])
        images, image_set = images_of(body)
        arrival = Arrival(self._begun, ended, self._at, len(body), images, image_set)
        self._log.write(json.dumps(asdict(arrival)) + "\n")
        self._log.flush()
        del self._received[: self._end]
        self._end = 0
        # Last: until this connection is armed again, its next request would be overtaken.
        self._socket.send(_REPLY)


class _NotForUs(Exception):
    """A client sent what has no place in this comparison."""


def images_of(body: bytes) -> tuple[int, str]:
    """How many images a body shows, and a name for them together."""
    view = memoryview(body)
    sums = []
    start = body.find(b";base64,")
    while start >= 0:
        end = body.index(b'"', start)
        sums.append(f"{zlib.crc32(view[start:end]):08x}")
        start = body.find(b";base64,", end)
    return len(sums), "-".join(sums)


@contextmanager
def null_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """The server in a process of its own; gives its base URL and its log."""
    port_file, log = folder / "port", folder / "arrivals.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    port_file.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, f"--port-file={port_file}", f"--log={log}"]
    )
    try:
        deadline = time.monotonic() + 20
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the null server did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}/v1", log
    finally:
        process.terminate()
        process.wait()


def read_log(log: Path) -> list[Arrival]:
    """The log's lines."""
    return [Arrival(**json.loads(line)) for line in log.read_text().splitlines()]


def serve(port_file: Path, log: Path) -> None:
    """Serve until terminated.

    Connections are served strictly in the order in which bytes came for them: each is armed for one
    event at a time. Otherwise the kernel keeps in its list those that were just read from, and
    their next requests overtake others', which looks as if the client had sent them so.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    connections: dict[int, Connection] = {}
    counts = [0, 0]
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    with log.open("w") as file, select.epoll() as poll:
        poll.register(listener, select.EPOLLIN)
        # Renamed into place: whoever waits for the file never reads half of it.
        unfinished = port_file.with_suffix(".unfinished")
        unfinished.write_text(str(listener.getsockname()[1]))
        unfinished.rename(port_file)
        while True:
            for number, _ in poll.poll():
                ready = [number]
                if number == listener.fileno():
                    # Read at once: what they send may have waited longer than the others' bytes.
                    ready = []
                    for sock in accept(listener):
                        poll.register(sock, 0)
                        connections[sock.fileno()] = Connection(sock, file, counts)
                        ready.append(sock.fileno())
                for each in ready:
                    if connections[each].read():
                        poll.modify(each, _ONE_EVENT)
                    else:
                        del connections[each]


def accept(listener: socket.socket) -> Iterator[socket.socket]:
    """All connections that wait."""
    with suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    serve(options.port_file, options.log)


if __name__ == "__main__":
    main()
