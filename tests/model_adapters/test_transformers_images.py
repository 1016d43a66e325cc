"""Images are processed once, for any number of prompts and threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.tiny_chat import answers, ask, texts

from migbench.messages import ImageFile
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.transformers.images import ImageCache, SharedImages, stand_in


def test_what_one_thread_makes_others_wait_for() -> None:
    cache: ImageCache[str] = ImageCache(100, len)
    begun, may_go_on = threading.Event(), threading.Event()
    made: list[str] = []

    def slowly() -> str:
        begun.set()
        assert may_go_on.wait(timeout=30)
        made.append("made")
        return "result"

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(cache.get, "key", slowly)
        assert begun.wait(timeout=30)
        others = [threads.submit(cache.get, "key", slowly) for _ in range(3)]
        may_go_on.set()
        assert [future.result() for future in (first, *others)] == ["result"] * 4
    assert made == ["made"]


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    cache: ImageCache[str] = ImageCache(100, len)

    def fail() -> str:
        raise OSError("no such image")

    for _ in range(2):
        with pytest.raises(OSError, match="no such image"):
            cache.get("key", fail)
    assert cache.get("key", lambda: "there now") == "there now"


def test_the_latest_used_are_kept_up_to_the_bound() -> None:
    cache: ImageCache[str] = ImageCache(10, len)
    made: list[str] = []

    def get(key: str) -> None:
        cache.get(key, lambda: made.append(key) or 4 * key)  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of images, each time that one is decoded."""
    names: list[str] = []
    open_image = ImageFile.open

    def recording_open(image: ImageFile) -> Image.Image:
        names.append(image.name)
        return open_image(image)

    monkeypatch.setattr(ImageFile, "open", recording_open)
    return names


def test_prompts_share_what_was_made_of_their_images(
    adapter: TransformersAdapter, images: list[ImageFile], decoded: list[str]
) -> None:
    answers(adapter, [ask(images[:2])])  # the first several images are processed both ways
    decoded.clear()
    texts(answers(adapter, [ask(images[1:5], f"Number {i}?") for i in range(6)]))
    assert sorted(decoded) == [image.name for image in images[2:5]]
    one, other = (adapter._chat.prepare(ask(images[i : i + 3])) for i in (1, 2))
    assert one.images[1]["pixel_values"] is other.images[0]["pixel_values"]


def test_without_room_for_them_images_are_processed_anew(
    checkpoint: Path, images: list[ImageFile], decoded: list[str], adapter: TransformersAdapter
) -> None:
    forgetful = TransformersAdapter(str(checkpoint), image_cache_gb=0, prefix_cache_gb=0)
    requests = [ask(images[:2], f"Number {i}?") for i in range(3)]
    assert texts(answers(forgetful, requests)) == texts(answers(adapter, requests))
    decoded.clear()
    # One after another: requests that are prepared at the same time share what is under way.
    for request in requests:
        answers(forgetful, [request])
    assert len(decoded) == 2 * len(requests)
    asyncio.run(forgetful.close())


class Padding:
    """An image processor that pads to the largest image: each depends on those beside it."""

    def __call__(self, images: Any, **_: Any) -> dict[str, Any]:
        import torch

        shown = [image for several in images for image in _flat(several)]
        width = max(image.width for image in shown)
        return {"pixel_values": torch.stack([torch.ones(width) * image.width for image in shown])}


def _flat(images: Any) -> list[Image.Image]:
    return list(images) if isinstance(images, list) else [images]


def test_images_that_depend_on_each_other_are_processed_together(
    images: list[ImageFile], checkpoint: Path
) -> None:
    shared = SharedImages(Padding(), most_bytes=1000)
    shown = [stand_in(image) for image in images[:3]]
    for _ in range(2):
        together = shared([shown])["pixel_values"]
        assert together.shape == (3, 200)
        assert together[:, 0].tolist() == [60, 200, 97]
        assert shared.pieces(shown) is None
