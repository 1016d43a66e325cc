"""vLLM itself shows what we show, of every kind of image, and says how its processor resizes."""

from __future__ import annotations

import asyncio
import base64
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.image_kinds import KINDS, vllm_decodes, write
from vllm.multimodal.media import ImageMediaIO

from migbench.boxes import SmartResized
from migbench.messages import Generation, ImageFile, Request
from model_adapters.openai.images import ImageEncoder
from model_adapters.vllm.adapter import VllmAdapter

GENERATION = Generation(max_new_tokens=1)


@pytest.mark.parametrize("kind", KINDS)
def test_vllms_own_decoder_shows_what_is_sent_as_we_do(tmp_path: Path, kind: str) -> None:
    file, _ = write(tmp_path, kind)
    (url,) = asyncio.run(ImageEncoder(cache_bytes=0).encode([file]))
    decoded = ImageMediaIO().load_bytes(base64.b64decode(url.rest)).media
    assert np.array_equal(np.asarray(decoded), np.asarray(file.open()))


def test_the_stand_in_for_vllm_is_right(tmp_path: Path) -> None:
    for kind in KINDS:
        file, _ = write(tmp_path, kind)
        decoded = ImageMediaIO().load_bytes(file.read()).media
        assert file.path is not None
        with Image.open(file.path) as image:
            assert np.array_equal(np.asarray(decoded), vllm_decodes(image)), kind


def test_the_engine_resizes_as_it_says(
    vllm: VllmAdapter, loop: asyncio.Runner, tmp_path: Path
) -> None:
    said = vllm.resizing
    assert said is not None
    frame = SmartResized(factor=said.factor, min_pixels=said.min_pixels, max_pixels=said.max_pixels)
    lengths = {}
    for size in [(56, 56), (640, 480), (33, 301), (20, 20), (300, 100)]:
        path = tmp_path / f"{size}.png"
        Image.new("RGB", size).save(path)
        request = Request((ImageFile(path.name, path), "?"), GENERATION)
        answer = loop.run(vllm.answer(request))
        wide, high = frame.canvas(*size)[:2]
        assert answer.prompt_tokens is not None
        lengths[size] = answer.prompt_tokens - math.prod((wide, high)) // said.factor**2
    # What is left of a prompt without its image's tokens is the same text.
    assert len(set(lengths.values())) == 1
