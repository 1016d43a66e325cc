"""Images on their way to an OpenAI-compatible server: unchanged, in order, each read once."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from migbench.messages import ImageFile, ModelError
from migbench.messages.image_decoding import MAX_BYTES
from model_adapters.openai.images import ImageEncoder, file_url


def picture(folder: Path, name: str, kind: str = "PNG", colour: int = 0) -> ImageFile:
    path = folder / name
    Image.new("RGB", (8, 6), (colour, 100, 200)).save(path, kind)
    return ImageFile(name, path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each image was read from disk."""
    counts: Counter[str] = Counter()
    original = ImageFile.read

    def counting(image: ImageFile) -> bytes:
        counts[image.name] += 1
        return original(image)

    monkeypatch.setattr(ImageFile, "read", counting)
    return counts


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
async def test_original_bytes_are_encoded_under_the_type_that_they_declare(
    kind: str, tmp_path: Path
) -> None:
    image = picture(tmp_path, "misleading.jpg", kind)
    (encoded,) = await ImageEncoder(cache_bytes=10**6).encode([image])
    assert encoded.prefix == f"data:image/{kind.lower()};base64,"
    assert base64.b64decode(encoded.rest, validate=True) == image.read()


@pytest.mark.asyncio
async def test_files_that_are_no_image_are_named(tmp_path: Path) -> None:
    encoder = ImageEncoder(cache_bytes=10**6)
    (tmp_path / "a.tiff").write_bytes(b"II*\x00 and so on")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, path, reason in [
        ("a.tiff", tmp_path / "a.tiff", "cannot be decoded"),
        ("empty.png", tmp_path / "empty.png", "cannot be decoded"),
        ("gone.png", tmp_path / "gone.png", "cannot be read"),
        ("none.png", None, "the run has no image folder"),
    ]:
        with pytest.raises(ModelError, match=f"image {re.escape(name)}: .*{reason}"):
            await encoder.encode([ImageFile(name, path)])


@pytest.mark.asyncio
async def test_an_image_is_read_once_for_its_whole_image_set(
    tmp_path: Path, reads: Counter[str]
) -> None:
    images = tuple(picture(tmp_path, f"{i}.png", colour=i) for i in range(3))
    encoder = ImageEncoder(cache_bytes=10**6)
    shown = (*images, images[0])
    one, *others = await asyncio.gather(*(encoder.encode(shown) for _ in range(8)))
    assert others == [one] * 7
    assert one[0] == one[3] != one[1]
    assert reads == {"0.png": 1, "1.png": 1, "2.png": 1}


@pytest.mark.asyncio
async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(
    tmp_path: Path, reads: Counter[str]
) -> None:
    first, second, third = (picture(tmp_path, f"{i}.bmp", "BMP") for i in range(3))
    room_for_two = int(2.5 * len(base64.b64encode(first.read())))
    reads.clear()
    encoder = ImageEncoder(cache_bytes=room_for_two)
    for image in (first, second, first, third, first, second):
        await encoder.encode([image])
    assert reads == {"0.bmp": 1, "1.bmp": 2, "2.bmp": 1}


@pytest.mark.asyncio
async def test_images_too_large_to_keep_are_encoded_all_the_same(
    tmp_path: Path, reads: Counter[str]
) -> None:
    encoder = ImageEncoder(cache_bytes=0)
    image = picture(tmp_path, "a.png")
    assert await encoder.encode([image]) == await encoder.encode([image])
    assert reads == {"a.png": 2}


@pytest.mark.asyncio
async def test_requests_are_served_in_order_and_files_are_read_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(tmp_path, "a.png")
    original = ImageFile.read

    def slow(image: ImageFile) -> bytes:
        time.sleep(0.1)
        return original(image)

    monkeypatch.setattr(ImageFile, "read", slow)
    encoder = ImageEncoder(cache_bytes=10**6)
    finished: list[str] = []

    async def finish(name: str, images: list[ImageFile]) -> None:
        await encoder.encode(images)
        finished.append(name)

    async def something_else() -> None:
        await asyncio.sleep(0.01)
        finished.append("something else")

    await asyncio.gather(
        finish("slow image", [image]),
        finish("no image", []),
        something_else(),
    )
    assert finished == ["something else", "slow image", "no image"]


@pytest.mark.asyncio
async def test_a_request_that_fails_or_is_cancelled_does_not_block_the_next(tmp_path: Path) -> None:
    image = picture(tmp_path, "a.png")
    encoder = ImageEncoder(cache_bytes=10**6)
    with pytest.raises(ModelError):
        await encoder.encode([ImageFile("gone.png", tmp_path / "gone.png")])
    cancelled = asyncio.create_task(encoder.encode([image]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert len(await encoder.encode([image])) == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled


# --- By path -------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["a.png", "a b.png", "a#b?c.png", "100%25.png", "ü\"'\\ä.png"])
async def test_a_path_is_a_url_that_leads_back_to_the_file(name: str, tmp_path: Path) -> None:
    image = picture(tmp_path, name)
    (url,) = await ImageEncoder(file_url, cache_bytes=10**6).encode([image])
    text = url.prefix + url.rest.decode("ascii")
    assert text.startswith("file:///")
    assert json.loads(f'"{text}"') == text
    parts = urlsplit(text)
    assert (parts.query, parts.fragment) == ("", "")
    assert Path(unquote(parts.path)) == tmp_path / name


@pytest.mark.asyncio
async def test_a_relative_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path, "a.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "link")
    image = ImageFile("a.png", Path("../a.png"))
    (url,) = await ImageEncoder(file_url, cache_bytes=0).encode([image])
    assert url.rest.decode() == str(tmp_path.resolve() / "a.png")


@pytest.mark.asyncio
async def test_by_path_no_file_is_read_whole_and_a_false_one_is_named(tmp_path: Path) -> None:
    encoder = ImageEncoder(file_url, cache_bytes=10**6)
    picture(tmp_path, "large.bmp", "BMP")
    with (tmp_path / "large.bmp").open("r+b") as file:
        file.truncate(MAX_BYTES)  # A hole: to read it would take a while.
    (url,) = await encoder.encode([ImageFile("large.bmp", tmp_path / "large.bmp")])
    assert url.prefix == "file://"
    (tmp_path / "a.tiff").write_bytes(b"II*\x00 and so on")
    (tmp_path / "folder.png").mkdir()
    for name, path, reason in [
        ("a.tiff", tmp_path / "a.tiff", "cannot be decoded"),
        ("folder.png", tmp_path / "folder.png", "cannot be read"),
        ("gone.png", tmp_path / "gone.png", "cannot be read"),
        ("none.png", None, "the run has no image folder"),
    ]:
        with pytest.raises(ModelError, match=f"image {re.escape(name)}: .*{reason}"):
            await encoder.encode([ImageFile(name, path)])
