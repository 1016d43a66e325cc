"""The viewer: what it serves, to whom, and what it refuses."""

from __future__ import annotations

import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.answer_lines import answer_line
from support.command_line import migbench
from support.report_runs import SIZES, make_data, make_run, served, truth

from migbench.data.annotations import Annotations
from migbench.reporting.html.viewer import Viewer
from migbench.runs.manifest import read_manifest
from migbench.runs.opening import open_run


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    return make_data(tmp_path / "data")


@pytest.fixture
def run(data: Annotations, tmp_path: Path) -> Path:
    make_run(tmp_path / "run", data, truth)
    return tmp_path / "run"


@pytest.fixture
def viewer(run: Path) -> Iterator[Viewer]:
    with served(run) as viewer:
        yield viewer


def ask(
    viewer: Viewer, path: str, host: str | None = None, method: str = "GET", root: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask for a path below the viewer's own name, or below another one."""
    path = (viewer.root if root is None else root).removesuffix("/") + path
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{viewer.port}")
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def numbers(page: bytes) -> dict[str, str]:
    """Where the page has its images from, by their names."""
    return dict(re.findall(r'"name":"images/([^"]*)"[^}]*"full":"image/(\d+)"', page.decode()))


def test_a_link_is_judged_when_its_image_is_served(viewer: Viewer, tmp_path: Path) -> None:
    _, page = ask(viewer, "/")
    name, number = next(iter(numbers(page).items()))
    image = next((tmp_path / "data").rglob(name))
    secret = tmp_path / "secret.png"
    Image.new("RGB", (31, 17), "red").save(secret)
    image.unlink()
    image.symlink_to(secret)
    for kind in ("image", "thumbnail"):
        response, content = ask(viewer, f"/{kind}/{number}")
        assert response.status == 404
        assert b"leads out of" in content
    # Within the folder, links may lead to what they like.
    other = image.with_name("other.png")
    Image.new("RGB", (31, 17), "blue").save(other)
    image.unlink()
    image.symlink_to(other)
    _, content = ask(viewer, f"/image/{number}")
    assert content == other.read_bytes()


def test_a_browser_is_shown_what_the_model_saw(viewer: Viewer, tmp_path: Path) -> None:
    _, page = ask(viewer, "/")
    name, number = next(iter(numbers(page).items()))
    path = next((tmp_path / "data").rglob(name))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "red").save(path, exif=exif)
    response, content = ask(viewer, f"/image/{number}")
    assert response.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(content)) as shown:
        assert (shown.size, shown.getexif().get(0x0112)) == ((60, 40), None)


def test_the_page_and_its_images(viewer: Viewer, data: Annotations) -> None:
    response, page = ask(viewer, "/")
    assert response.status == 200
    assert b"connect-src 'self'" in page.replace(b"&#39;", b"'")
    found = numbers(page)
    assert set(found) == set(SIZES)
    for name, number in found.items():
        response, content = ask(viewer, f"/image/{number}")
        assert response.getheader("Content-Type") == "image/png"
        assert content == (data.path.parent / "images" / name).read_bytes()
        response, content = ask(viewer, f"/thumbnail/{number}")
        assert response.getheader("Content-Type") == "image/jpeg"
        assert max(Image.open(io.BytesIO(content)).size) == min(480, max(SIZES[name]))
    head, nothing = ask(viewer, "/image/0", method="HEAD")
    assert (head.status, nothing) == (200, b"")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "", "127.0.0.1:1"]
)
def test_other_hosts_names_are_refused(viewer: Viewer, host: str) -> None:
    for path in ("/", "/image/0", "/state"):
        response, content = ask(viewer, path, host.format(port=viewer.port))
        assert response.status == (403 if host else 400)
        assert b"<" not in content


def test_localhost_is_this_machine(viewer: Viewer) -> None:
    assert ask(viewer, "/state", f"localhost:{viewer.port}")[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/../../../../etc/passwd", "/image/../../etc/passwd", "/image/%2e%2e%2fetc/passwd"),
        *("//etc/passwd", "/image/5", "/image/-1", "/image/1.0", "/image/٣", "/image/0/../0"),
        *("/image/9999999999999999999", "/thumbnail/", "/run.json", "/?x=1", "/index.html"),
    ],
)
def test_nothing_else_is_served(viewer: Viewer, path: str) -> None:
    ask(viewer, "/")
    with socket.create_connection(("127.0.0.1", viewer.port), timeout=60) as connection:
        host = f"127.0.0.1:{viewer.port}"
        asked = (
            f"GET {viewer.root[:-1]}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(asked.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.split()[1] in (b"404", b"400")


@pytest.mark.parametrize("root", ["/", "/wrong/", "{root}x/", "{shorter}/"])
def test_who_does_not_know_the_whole_address_is_served_nothing(viewer: Viewer, root: str) -> None:
    """Other users of the machine can reach the port."""
    guess = root.format(root=viewer.root[:-1], shorter=viewer.root[:-2])
    for path in ("/", "/state", "/image/0", "/thumbnail/0"):
        response, content = ask(viewer, path, root=guess)
        assert (response.status, content) == (404, b"not found")


def test_every_viewer_has_a_name_of_its_own(run: Path) -> None:
    with served(run) as one, served(run) as other:
        assert len(one.root) >= 32
        assert one.root != other.root


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(viewer: Viewer, method: str) -> None:
    assert ask(viewer, "/", method=method)[0].status == 405


def test_images_outside_of_the_data_are_refused(viewer: Viewer, data: Annotations) -> None:
    images = data.path.parent / "images"
    secret = data.path.parent.parent / "secret.png"
    Image.new("RGB", (5, 5)).save(secret)
    (images / "odd.png").unlink()
    (images / "odd.png").symlink_to(secret)
    _, page = ask(viewer, "/")
    assert "odd.png" not in numbers(page)
    assert b"leads out of" in page
    bodies = [ask(viewer, f"/image/{number}")[1] for number in range(len(SIZES))]
    assert secret.read_bytes() not in bodies


def test_only_loopback_listens(viewer: Viewer) -> None:
    assert viewer.socket.getsockname()[0] == "127.0.0.1"


def test_what_browsers_cannot_show_is_sent_as_png(viewer: Viewer, data: Annotations) -> None:
    path = data.path.parent / "images" / "odd.png"
    Image.new("RGB", SIZES["odd.png"], "red").save(path, "TIFF")
    number = numbers(ask(viewer, "/")[1])["odd.png"]
    response, content = ask(viewer, f"/image/{number}")
    assert response.getheader("Content-Type") == "image/png"
    assert Image.open(io.BytesIO(content)).getpixel((0, 0)) == (255, 0, 0)


def test_broken_images_are_not_found(viewer: Viewer, data: Annotations) -> None:
    path = data.path.parent / "images" / "odd.png"
    number = numbers(ask(viewer, "/")[1])["odd.png"]
    path.write_bytes(path.read_bytes()[:60])
    assert ask(viewer, f"/thumbnail/{number}")[0].status == 404
    path.write_text("<script>alert(1)</script>")
    assert ask(viewer, f"/image/{number}")[0].status == 404


def test_the_state_changes_with_every_answer(viewer: Viewer, run: Path) -> None:
    before = ask(viewer, "/state")[1]
    assert ask(viewer, "/state")[1] == before
    assert before in ask(viewer, "/")[1]
    with open_run(run, read_manifest(run)) as store:
        store.append(answer_line("nobody's", text="(1,2),(3,4)"))
    after = ask(viewer, "/state")[1]
    assert after != before
    assert after in ask(viewer, "/")[1]


def test_what_is_wrong_with_a_run_is_said(viewer: Viewer, data: Annotations) -> None:
    data.path.write_text("[]")
    (viewer.content.folders[0] / "answers.jsonl").touch()
    response, content = ask(viewer, "/")
    assert response.status == 500
    assert content.decode().startswith(str(data.path))
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"


def test_a_port_that_is_taken_is_named(viewer: Viewer, run: Path) -> None:
    done = migbench("view", run, "--port", viewer.port)
    assert done.status == 2
    assert f"port {viewer.port}" in done.err
    assert "--port" in done.err


def test_the_command_serves_until_it_is_stopped(run: Path) -> None:
    command = [sys.executable, "-m", "migbench", "view", str(run), "--port", "0", "--no-published"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            (url,) = re.findall(r"^http://127\.0\.0\.1:\d+/\S+/", process.stdout.readline())
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert b'<script type="application/json" id="data">' in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
