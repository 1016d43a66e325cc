"""The pixels that reach a model are the same by every adapter, whatever decodes on the way."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.image_kinds import KINDS, Pixels, vllm_decodes, write

from migbench.integrations.lmms_eval.hooks import doc_to_messages, doc_to_visual
from migbench.messages import ImageFile, Request
from model_adapters.lmms_eval.model import ImagesAs, ListModel
from model_adapters.openai.images import ImageEncoder, data_url, file_url
from model_adapters.transformers.loading import load
from model_adapters.transformers.prompts import Preparer
from model_adapters.transformers.settings import TransformersSettings
from model_adapters.vllm.images import ImageDecoder
from model_adapters.vllm.prompts import chat

PAGE = Path(__file__).resolve().parents[2] / "docs" / "images.md"


# What decodes on the way


def llama_cpp_decodes(image: Image.Image) -> Pixels:
    """As llama.cpp's stb_image: few formats, never turned, alpha dropped, the upper of 16 bits."""
    assert image.format in ("JPEG", "PNG", "BMP", "GIF"), "llama.cpp refuses the format"
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def pillow_decodes(image: Image.Image) -> Pixels:
    """As many a model class does, in one line."""
    return np.asarray(image.convert("RGB"))


Decoder = Callable[[Image.Image], Pixels]


def received(sent: Any, decode: Decoder) -> Pixels:
    """A model's pixels of what it was given: an image, a path, or a URL."""
    if isinstance(sent, Image.Image):
        return decode(sent)
    if sent.startswith("data:"):
        return decode(Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2]))))
    return decode(Image.open(sent.removeprefix("file://")))


# The adapters


def by_transformers(file: ImageFile, processor: Any) -> list[Pixels]:
    seen: list[Pixels] = []
    own = processor.image_processor

    class Recorder:
        def __call__(self, images: Any, *args: Any, **settings: Any) -> Any:
            seen.extend(np.asarray(image) for image in images)
            return own(images, *args, **settings)

        def __getattr__(self, name: str) -> Any:
            return getattr(own, name)

    processor.image_processor = Recorder()
    try:
        Preparer(processor, image_cache_bytes=0, template={}).prepare(Request((file, "?")))
    finally:
        processor.image_processor = own
    return seen


def by_vllm(file: ImageFile) -> list[Pixels]:
    decoder = ImageDecoder(threads=1, cache_bytes=0)
    request = Request((file, "?"))
    (message,) = chat(request, asyncio.run(decoder.decode(request.images)))
    decoder.close()
    return [received(message["content"][0]["image_pil"], vllm_decodes)]


def by_openai(file: ImageFile) -> list[Pixels]:
    seen = []
    for url_of in (data_url, file_url):
        (url,) = asyncio.run(ImageEncoder(url_of, cache_bytes=0).encode([file]))
        text = url.prefix + url.rest.decode()
        seen += [received(text, decode) for decode in (vllm_decodes, llama_cpp_decodes)]
    return seen


def by_lmms_eval(file: ImageFile) -> list[Pixels]:
    """What our adapter hands to a chat class and to a simple one, and lmms-eval's own tasks."""

    class Loaded:
        is_simple = False

    request = Request((file, "?"))
    model = ListModel(Loaded(), ImagesAs.PATH)
    document = {"parts": [{"text": None, "image": str(file.path)}]}
    given = [
        model._chat(request)[0]["content"][0]["url"],
        model._images_of(request)[0],
        doc_to_messages(document)[0]["content"][0]["url"],
        doc_to_visual(document)[0],
    ]
    return [received(one, decode) for one in given for decode in (vllm_decodes, pillow_decodes)]


ADAPTERS = ("transformers", "vllm", "openai", "lmms-eval")


@pytest.fixture(scope="module")
def processor(checkpoint: Path) -> Any:
    return load(TransformersSettings(checkpoint=str(checkpoint))).processor


def test_the_documented_table_holds(tmp_path: Path, processor: Any) -> None:
    rows = [f"| Kind of image | {' | '.join(ADAPTERS)} | sent as |", "|---" * 6 + "|"]
    for kind in KINDS:
        file, _ = write(tmp_path, kind)
        shown = np.asarray(file.open())
        reached = (
            by_transformers(file, processor),
            by_vllm(file),
            by_openai(file),
            by_lmms_eval(file),
        )
        cells = [
            "equal" if all(np.array_equal(shown, one) for one in seen) and seen else "OTHER"
            for seen in reached
        ]
        cells.append("PNG" if file.difference() else "it is")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    assert not any("OTHER" in row for row in rows)
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "decode"),
    [
        ("turned by EXIF, JPEG", vllm_decodes),
        ("turned by EXIF behind the pixels, PNG", vllm_decodes),
        ("transparency (RGBA), PNG", llama_cpp_decodes),
        ("transparent grey (LA), PNG", llama_cpp_decodes),
        ("palette with a transparent colour, PNG", llama_cpp_decodes),
        ("one transparent colour (tRNS), PNG", llama_cpp_decodes),
        ("16-bit grey, PNG", vllm_decodes),
        ("transparency, WebP", pillow_decodes),
        ("turned by its tag, TIFF", pillow_decodes),
        ("16-bit grey, big-endian TIFF", vllm_decodes),
    ],
)
def test_the_files_own_bytes_would_be_shown_otherwise(
    tmp_path: Path, kind: str, decode: Decoder
) -> None:
    file, _ = write(tmp_path, kind)
    other = received(str(file.path), decode)
    shown = np.asarray(file.open())
    assert other.shape != shown.shape or np.abs(other.astype(int) - shown).max() > 20
