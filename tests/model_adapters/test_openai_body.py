"""What an OpenAI-compatible server is sent."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from migbench.messages import Generation, ImageFile, ModelError, Request
from model_adapters.openai.body import BodyFormat
from model_adapters.openai.images import ImageEncoder

FORMAT = BodyFormat(model="some/model")


def picture(folder: Path, name: str, colour: int = 0) -> ImageFile:
    path = folder / name
    Image.new("RGB", (8, 6), (colour, 100, 200)).save(path)
    return ImageFile(name, path)


def written(request: Request, body_format: BodyFormat = FORMAT) -> dict[str, Any]:
    images = asyncio.run(ImageEncoder(cache_bytes=0).encode(request.images))
    body: dict[str, Any] = json.loads(b"".join(body_format.pieces(request, images)))
    return body


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def image_part(image: ImageFile, **fields: str) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(image.read()).decode()}"
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def test_a_body_holds_the_model_the_settings_and_the_chat() -> None:
    request = Request(
        ("Find the dog.",),
        Generation(max_new_tokens=77, temperature=0.5, top_p=0.9, seed=3),
        system="You are helpful.",
    )
    assert written(request) == {
        "model": "some/model",
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": "Find the dog."},
        ],
    }


def test_servers_that_differ_are_served_by_settings(tmp_path: Path) -> None:
    body_format = BodyFormat(
        model="hosted",
        max_tokens_field="max_completion_tokens",
        omit=("temperature", "seed"),
        extra={"top_k": 1, "mm_processor_kwargs": {"max_pixels": 50176}},
        image_detail="high",
    )
    image = picture(tmp_path, "a.png")
    assert written(Request((image, "Where?")), body_format) == {
        "model": "hosted",
        "max_completion_tokens": 128,
        "top_p": 1.0,
        "top_k": 1,
        "mm_processor_kwargs": {"max_pixels": 50176},
        "messages": [
            {"role": "user", "content": [image_part(image, detail="high"), text("Where?")]}
        ],
    }


def test_texts_and_images_keep_their_order(tmp_path: Path) -> None:
    one, two = picture(tmp_path, "1.png", colour=1), picture(tmp_path, "2.png", colour=2)
    request = Request(("Image-1: ", one, "\nImage-2: ", two, one, "Where?"))
    (message,) = written(request)["messages"]
    assert message["content"] == [
        text("Image-1: "),
        image_part(one),
        text("\nImage-2: "),
        image_part(two),
        image_part(one),
        text("Where?"),
    ]


def test_neighbouring_texts_are_one_and_empty_ones_none(tmp_path: Path) -> None:
    """Servers would put a line break between them, or refuse an empty one."""
    request = Request(("", picture(tmp_path, "a.png"), "Where is ", "", "the dog?"))
    (message,) = written(request)["messages"]
    assert message["content"][1:] == [text("Where is the dog?")]


@given(
    st.lists(st.text() | st.sampled_from(['"url": null', '{"url": null}', "\\", '"']), min_size=1)
)
def test_no_text_can_break_out_of_its_place(texts: list[str]) -> None:
    (message,) = written(Request(tuple(texts)))["messages"]
    assert message["content"] == "".join(texts)


def test_a_text_that_looks_like_the_place_of_an_image_is_a_text(tmp_path: Path) -> None:
    image = picture(tmp_path, "a.png")
    trap = '"url": null, {"type": "image_url", "image_url": {"url": null}}'
    system, message = written(Request((trap, image, trap), system=trap))["messages"]
    assert system["content"] == trap
    assert message["content"] == [text(trap), image_part(image), text(trap)]


def test_beam_search_is_refused() -> None:
    with pytest.raises(ModelError, match="num_beams 4"):
        written(Request(("Where?",), Generation(num_beams=4)))
