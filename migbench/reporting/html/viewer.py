"""The page on loopback: full-size images on demand, renewed while its runs are going.

Only 127.0.0.1 is listened on. Requests that name another host are refused, so that no web page can
reach the viewer under a name of its own; images are asked for by number, never by path. All that is
served lies below a name that nobody can guess, so that other users of the machine see nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from migbench.errors import MigbenchError, UsageError
from migbench.messages import ImageFile
from migbench.reporting.html.gathering import MakePictures, WantedPicture
from migbench.reporting.html.pictures import thumbnail, without_thumbnail
from migbench.reporting.html.records import Picture
from migbench.runs.answers_file import ANSWERS
from migbench.runs.manifest import MANIFEST

ADDRESS = "127.0.0.1"
SIDE = 480
"""The longer side of a thumbnail, in pixels."""
IDLE = 30.0
"""Seconds after which a connection that says nothing is closed."""

MakePage = Callable[[MakePictures, str], str]
"""Makes the page of the runs as they are now, given how pictures are made and the runs' state."""


@dataclass
class Content:
    """What is served: the page as of now, and the images that it shows."""

    folders: Sequence[Path]
    make_page: MakePage
    _lock: Lock = field(default_factory=Lock)
    _state: str = ""
    _page: bytes = b""
    _images: Sequence[WantedPicture] = ()

    def state(self) -> str:
        """What changes as soon as a run has."""
        found = hashlib.sha256()
        for folder in self.folders:
            for name in (MANIFEST, ANSWERS):
                path = folder / name
                status = path.stat() if path.exists() else None
                found.update(f"{status and (status.st_size, status.st_mtime_ns)} ".encode())
        return found.hexdigest()[:16]

    def page(self) -> bytes:
        """The page, made anew if a run has changed. Raises `MigbenchError`."""
        with self._lock:
            state = self.state()
            if state != self._state:
                self._page = self.make_page(self._pictures, state).encode()
                self._state = state
            return self._page

    def image(self, number: int) -> ImageFile | None:
        """The image of this number on the page, looked up now: links may lead elsewhere by now.

        Raises `DataError` where it may not be read any more.
        """
        return self._images[number].find() if number < len(self._images) else None

    def _pictures(self, wanted: Sequence[WantedPicture]) -> list[Picture]:
        self._images = wanted
        return [_picture(number, each) for number, each in enumerate(wanted)]


def _picture(number: int, wanted: WantedPicture) -> Picture:
    path = wanted.file.path
    problem = wanted.problem or (None if path and path.is_file() else "there is no such file")
    known = without_thumbnail(wanted, problem or "")
    if problem or known.width is None:
        return without_thumbnail(wanted, problem or "cannot be decoded")
    return Picture(
        name=known.name,
        width=known.width,
        height=known.height,
        thumbnail=f"thumbnail/{number}",
        full=f"image/{number}",
    )


@lru_cache(maxsize=4096)
def _thumbnail(file: ImageFile, changed: int) -> bytes:
    """A thumbnail, made once for as long as the file does not change."""
    return thumbnail(file, SIDE)


def _image(kind: str, file: ImageFile) -> tuple[str, bytes]:
    """An image's type and bytes, as the models saw it. Raises `ModelError`."""
    if kind == "image":
        return file.encoded()
    changed = file.path.stat().st_mtime_ns if file.path else 0
    return "image/jpeg", _thumbnail(file, changed)


class Viewer(ThreadingHTTPServer):
    """Serves a page; ``port`` 0 takes a free one. Raises `UsageError` where it is taken."""

    daemon_threads = True

    def __init__(self, content: Content, port: int) -> None:
        self.content = content
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port}: {error}; choose another --port") from error
        self.root = f"/{secrets.token_urlsafe(24)}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """Where the page is; who knows it can see the page."""
        return f"http://{ADDRESS}:{self.server_port}{self.root}"


class _Handler(BaseHTTPRequestHandler):
    server: Viewer
    protocol_version = "HTTP/1.1"
    server_version = "migbench"
    sys_version = ""
    timeout = IDLE

    def do_GET(self) -> None:
        try:
            status, kind, content = self._answer()
        except MigbenchError as error:
            status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8"
            content = str(error).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store" if kind.startswith("text") else "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def _answer(self) -> tuple[HTTPStatus, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if self.headers.get("Host") not in self.server.hosts:
            return HTTPStatus.FORBIDDEN, plain, b"this viewer is for this machine alone"
        content, root = self.server.content, self.server.root
        # In constant time: how long it takes must not tell how much of the name was right.
        if not hmac.compare_digest(self.path[: len(root)].encode(), root.encode()):
            return HTTPStatus.NOT_FOUND, plain, b"not found"
        path = self.path[len(root) :]
        if path == "":
            return HTTPStatus.OK, "text/html; charset=utf-8", content.page()
        if path == "state":
            return HTTPStatus.OK, plain, content.state().encode()
        asked = re.fullmatch(r"(image|thumbnail)/([0-9]{1,9})", path)
        try:
            file = content.image(int(asked[2])) if asked else None
            if asked is None or file is None:
                return HTTPStatus.NOT_FOUND, plain, b"not found"
            return HTTPStatus.OK, *_image(asked[1], file)
        except (MigbenchError, OSError) as error:
            return HTTPStatus.NOT_FOUND, plain, str(error).encode()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of single requests."""
