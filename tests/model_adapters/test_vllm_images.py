"""Images are decoded in threads, once each, and kept within bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image, ImageOps

from migbench.messages import ImageFile, ModelError
from model_adapters.vllm.images import DecodedImage, ImageDecoder

T = TypeVar("T")
SIDE = 10
BYTES = SIDE * SIDE * 3


@pytest.fixture
def images(tmp_path: Path) -> list[ImageFile]:
    files = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (SIDE, SIDE), (number, 0, 0)).save(path)
        files.append(ImageFile(path.name, path))
    return files


class Decoding:
    """Stands in front of `ImageFile.open`: keeps the names and threads, and may hold it up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.threads: set[str] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        original = ImageFile.open

        def recording(image: ImageFile) -> Image.Image:
            self.names.append(image.name)
            self.threads.add(threading.current_thread().name)
            assert self.may_go_on.wait(10)
            return original(image)

        monkeypatch.setattr(ImageFile, "open", recording)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoding]:
    recorder = Decoding(monkeypatch)
    yield recorder
    recorder.may_go_on.set()


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def red(images: list[DecodedImage]) -> list[int]:
    return [image.pixels.getpixel((0, 0))[0] for image in images]


def test_images_come_in_order_named_by_their_content(
    images: list[ImageFile], decoding: Decoding
) -> None:
    decoder = ImageDecoder(threads=3, cache_bytes=10 * BYTES)
    decoded = run(decoder.decode([images[2], images[0], images[2]]))
    decoder.close()
    assert red(decoded) == [2, 0, 2]
    assert [image.media_id for image in decoded] == [images[i].digest() for i in (2, 0, 2)]
    assert sorted(decoding.names) == ["0.png", "2.png"]
    assert all(name.startswith("decode") for name in decoding.threads)


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.webp"])
def test_no_image_says_that_it_is_to_be_turned(tmp_path: Path, name: str) -> None:
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / name, exif=turn)
    with Image.open(tmp_path / name) as stored:
        assert ImageOps.exif_transpose(stored).size == (20, 30)
    decoder = ImageDecoder(threads=1, cache_bytes=0)
    (image,) = run(decoder.decode([ImageFile(name, tmp_path / name)]))
    decoder.close()
    assert ImageOps.exif_transpose(image.pixels).size == (30, 20)


def test_requests_at_the_same_time_share_the_work(
    images: list[ImageFile], decoding: Decoding
) -> None:
    decoder = ImageDecoder(threads=2, cache_bytes=0)

    async def two_requests() -> list[list[DecodedImage]]:
        decoding.may_go_on.clear()
        both = asyncio.gather(decoder.decode(images[:2]), decoder.decode(images[1:3]))
        await asyncio.sleep(0)
        decoding.may_go_on.set()
        return await both

    assert [red(decoded) for decoded in run(two_requests())] == [[0, 1], [1, 2]]
    decoder.close()
    assert sorted(decoding.names) == ["0.png", "1.png", "2.png"]


def test_those_used_longest_ago_are_dropped(images: list[ImageFile], decoding: Decoding) -> None:
    decoder = ImageDecoder(threads=1, cache_bytes=2 * BYTES)

    async def several() -> None:
        await decoder.decode(images[:2])
        await decoder.decode(images[:1])  # now 1.png is the one used longest ago
        await decoder.decode(images[2:3])
        await decoder.decode(images[:1])
        await decoder.decode(images[1:2])

    run(several())
    decoder.close()
    assert decoding.names == ["0.png", "1.png", "2.png", "1.png"]


def test_a_failure_is_told_and_not_kept(images: list[ImageFile]) -> None:
    broken, path = images[0], images[0].path
    assert path is not None
    content = path.read_bytes()
    decoder = ImageDecoder(threads=2, cache_bytes=10 * BYTES)

    async def broken_then_mended() -> list[DecodedImage]:
        path.write_bytes(content[:20])
        with pytest.raises(ModelError, match=r"image 0.png: cannot be decoded"):
            await decoder.decode([images[1], broken, broken])
        path.write_bytes(content)
        return await decoder.decode([broken])

    assert red(run(broken_then_mended())) == [0]
    decoder.close()


def test_a_request_given_up_takes_nothing_from_another(
    images: list[ImageFile], decoding: Decoding
) -> None:
    decoder = ImageDecoder(threads=1, cache_bytes=0)

    async def give_one_up() -> list[DecodedImage]:
        decoding.may_go_on.clear()
        first, second = (asyncio.create_task(decoder.decode(images[:2])) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        decoding.may_go_on.set()
        return await second

    assert red(run(give_one_up())) == [0, 1]
    decoder.close()


def test_closed_it_answers_with_an_error(images: list[ImageFile], decoding: Decoding) -> None:
    decoder = ImageDecoder(threads=1, cache_bytes=0)

    async def close_meanwhile() -> None:
        decoding.may_go_on.clear()
        waiting = asyncio.create_task(decoder.decode(images[:3]))
        await asyncio.sleep(0)
        threading.Timer(0.05, decoding.may_go_on.set).start()
        decoder.close()
        with pytest.raises(ModelError, match="stopped"):
            await waiting
        with pytest.raises(ModelError, match="stopped"):
            await decoder.decode(images)

    run(close_meanwhile())
