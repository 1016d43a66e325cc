"""One picture, whatever shows it; and files that are no pictures are named, whatever they are."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.image_kinds import (
    HEIGHT,
    KINDS,
    ORIENTATION,
    WIDTH,
    png_chunk,
    saved,
    scene,
    turned,
    write,
)

from migbench.messages import ImageFile, ModelError, image_decoding


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_is_shown_as_it_is_meant(tmp_path: Path, kind: str) -> None:
    file, pixels = write(tmp_path, kind)
    shown = file.open()
    assert (shown.mode, shown.info, dict(shown.getexif())) == ("RGB", {}, {})
    assert file.size() == shown.size == (WIDTH, HEIGHT)
    assert np.abs(np.asarray(shown).astype(float) - pixels).max() <= 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_no_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    how = {"exif": turned(orientation)}
    if kind == "TIFF":
        how = {"tiffinfo": {ORIENTATION: orientation}}
    path = tmp_path / "a"
    path.write_bytes(saved(Image.fromarray(scene()), kind, **how))
    plain = tmp_path / "b"
    plain.write_bytes(saved(Image.fromarray(scene()), kind))
    file = ImageFile("a", path)
    assert file.size() == (WIDTH, HEIGHT)
    assert file.open() == ImageFile("b", plain).open()
    is_told = "orientation" in (file.difference() or "")
    assert is_told or kind in ("TIFF", "AVIF") or orientation == 1


def test_an_orientation_in_xmp_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    Image.fromarray(scene()).save(path, xmp=xmp)
    assert ImageOps.exif_transpose(Image.open(path)).size == (HEIGHT, WIDTH)
    assert "orientation 6" in (ImageFile("a", path).difference() or "")


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_sixteen_bits_keep_the_order_of_shades(one: int, other: int) -> None:
    image = Image.fromarray(np.array([[one, other]], np.uint16))
    left, right = np.asarray(image_decoding.flatten(image))[0, :, 0].tolist()
    assert (left, right) == (one >> 8, other >> 8)


@pytest.mark.parametrize(("mode", "kind"), [("F", "floating point"), ("I", "32 bits or signed")])
def test_pixels_without_a_declared_range_are_refused(tmp_path: Path, mode: str, kind: str) -> None:
    path = tmp_path / "a.tiff"
    Image.new(mode, (40, 30), 1).save(path)
    with pytest.raises(ModelError, match=f"image a: cannot be decoded .*{kind}.*convert"):
        ImageFile("a", path).open()


def test_ordinary_files_are_sent_as_they_are_and_others_as_a_png_of_the_same(
    tmp_path: Path,
) -> None:
    for kind in KINDS:
        file, _ = write(tmp_path, kind)
        media_type, content = file.encoded()
        if file.difference() is None:
            assert content == file.read()
        else:
            assert media_type == "image/png"
            (tmp_path / "again").write_bytes(content)
            again = ImageFile("again", tmp_path / "again")
            assert again.difference() is None
            assert again.open() == file.open()


def test_looking_at_a_header_decodes_no_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp"):
        Image.fromarray(scene()).save(tmp_path / name)
    monkeypatch.setattr(Image.Image, "convert", None)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp"):
        assert ImageFile(name, tmp_path / name).difference() is None


# --- what is no picture ---------------------------------------------------------------------------


def check_refused(path: Path, match: str = "") -> None:
    for look in (ImageFile.open, ImageFile.encoded):
        with pytest.raises(ModelError, match=rf"image a: cannot be .*{match}"):
            look(ImageFile("a", path))


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        b"GRIB\0\0\0\1" + bytes(100),
        b"\xd7\xcd\xc6\x9a\0\0" + bytes(100),  # a Windows metafile
        b"",
        b"\0",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM" + bytes(12),
        b"II*\0" + bytes(4),
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    ],
)
def test_what_starts_programs_or_is_no_image_is_not_opened(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("os.system", None)
    (tmp_path / "a.png").write_bytes(content)
    check_refused(tmp_path / "a.png")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_or_damaged_is_named_or_shown_and_nothing_else(
    tmp_path: Path, kind: str
) -> None:
    content, _ = KINDS[kind]()
    path = tmp_path / "a"
    for length in range(0, len(content), 1 + len(content) // 12):
        for changed in (content[:length], content[:length] + b"\xff" + content[length + 1 :]):
            path.write_bytes(changed)
            file = ImageFile("a", path)
            for look in (file.open, file.encoded, file.size, file.difference):
                with suppress(ModelError):
                    look()


def png_of_size(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def test_more_pixels_than_any_model_sees_are_refused_before_they_are_decoded(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(8192, 8193))
    check_refused(tmp_path / "a.png", "8192 x 8193 pixels are more than 67108864.*shrink")


def test_a_text_that_unpacks_to_more_than_memory_is_refused(tmp_path: Path) -> None:
    bomb = b"Raw profile type exif\0\0" + zlib.compress(bytes(50 * 2**20), 9)
    (tmp_path / "a.png").write_bytes(png_of_size(40, 30, (b"zTXt", bomb)))
    check_refused(tmp_path / "a.png", "too large")


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("x"), struct.error("x"), EOFError(), zlib.error("x")]
)
def test_whatever_a_decoder_raises_names_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ModelError, match=r"image a: cannot be decoded \((x|MemoryError|EOFError)"):
        ImageFile("a", tmp_path / "a.png").open()


def test_only_regular_files_are_read_and_nothing_waits(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):

        def look(path: Path = path) -> None:
            check_refused(path)
            for how in (ImageFile.read, ImageFile.size, ImageFile.difference):
                with pytest.raises(ModelError, match="image a: cannot be read"):
                    how(ImageFile("a", path))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(image_decoding.MAX_BYTES + 1)
    check_refused(tmp_path / "a.png", "bytes are more than")
    with pytest.raises(ModelError, match="image a: cannot be read"):
        ImageFile("a", tmp_path / "a.png").digest()


def test_a_file_that_cannot_be_read_is_the_requests_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")

    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    for look in (ImageFile.read, ImageFile.digest, ImageFile.size, ImageFile.open):
        with pytest.raises(ModelError, match=r"image a: cannot be read \(Too many open files\)"):
            look(ImageFile("a", tmp_path / "a.png"))


def test_a_header_is_read_anew_when_the_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(path)
    assert ImageFile("a", path).size() == (40, 30)
    Image.new("RGBA", (41, 30)).save(path)
    os.utime(path, ns=(1, 1))
    assert ImageFile("a", path).size() == (41, 30)
    assert ImageFile("a", path).difference() == "transparency"
