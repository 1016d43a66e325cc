"""The page on loopback: full-size images on demand, renewed while its runs are going.

Only 127.0.0.1 is listened on. Requests that name another host are refused, so that no web page can
reach the viewer under a name of its own; images are asked for by number, never by path. All that is
served lies below a name that nobody can guess, so that other users of the machine see nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from aiohttp import web

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


class Viewer:
    """Serves a page; ``port`` 0 takes a free one. Raises `UsageError` where it is taken."""

    def __init__(self, content: Content, port: int) -> None:
        self.content = content
        try:
            self.socket = socket.create_server((ADDRESS, port))
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port}: {error}; choose another --port") from error
        self.port: int = self.socket.getsockname()[1]
        self.root = f"/{secrets.token_urlsafe(24)}/"
        self.hosts = {f"{name}:{self.port}" for name in (ADDRESS, "localhost")}

    @property
    def url(self) -> str:
        """Where the page is; who knows it can see the page."""
        return f"http://{ADDRESS}:{self.port}{self.root}"

    async def serve(self) -> None:
        """Serve until this is cancelled."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._respond)
        app.on_response_prepare.append(_set_headers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.SockSite(runner, self.socket).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.Response:
        if request.headers.get("Host") not in self.hosts:
            return web.Response(status=403, text="this viewer is for this machine alone")
        # The path as it was sent. In constant time: how long it takes must not tell how much of
        # the name was right.
        root, path = request.raw_path[: len(self.root)], request.raw_path[len(self.root) :]
        if not hmac.compare_digest(root.encode(), self.root.encode()):
            return _not_found()
        if path == "state":
            return web.Response(text=self.content.state())
        if path == "":
            return await asyncio.to_thread(self._page)
        asked = re.fullmatch(r"(image|thumbnail)/([0-9]{1,9})", path)
        return (
            await asyncio.to_thread(self._image, asked[1], int(asked[2])) if asked else _not_found()
        )

    def _page(self) -> web.Response:
        try:
            return web.Response(body=self.content.page(), content_type="text/html", charset="utf-8")
        except MigbenchError as error:
            return web.Response(status=500, text=str(error))

    def _image(self, kind: str, number: int) -> web.Response:
        try:
            if (file := self.content.image(number)) is None:
                return _not_found()
            content_type, content = _image(kind, file)
            return web.Response(body=content, content_type=content_type)
        except (MigbenchError, OSError) as error:
            return _not_found(str(error))


def _not_found(why: str = "not found") -> web.Response:
    return web.Response(status=404, text=why)


async def _set_headers(request: web.Request, response: web.StreamResponse) -> None:
    is_text = response.content_type.startswith("text")
    response.headers.update(
        {
            "Cache-Control": "no-store" if is_text else "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Server": "migbench",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
    )
