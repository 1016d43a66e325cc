"""What vLLM is given for a request, as plain data."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from migbench.messages import Generation, ImageFile, ModelError, Part, Request
from model_adapters.vllm.images import DecodedImage
from model_adapters.vllm.prompts import chat, check, sampling

ONE, TWO = (ImageFile(name, Path(name)) for name in ("one.png", "two.png"))
PIXELS = {image: Image.new("RGB", (2, 3)) for image in (ONE, TWO)}


def decoded(request: Request) -> list[DecodedImage]:
    return [DecodedImage(PIXELS[image], f"id of {image.name}") for image in request.images]


def test_parts_stand_in_their_order_with_their_media_ids() -> None:
    request = Request(("Image-1: ", ONE, "\nImage-2: ", TWO, ONE, "\nWhere?"), system="Be exact.")
    image_one = {"type": "image_pil", "image_pil": PIXELS[ONE], "uuid": "id of one.png"}
    image_two = {"type": "image_pil", "image_pil": PIXELS[TWO], "uuid": "id of two.png"}
    assert chat(request, decoded(request)) == [
        {"role": "system", "content": "Be exact."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image-1: "},
                image_one,
                {"type": "text", "text": "\nImage-2: "},
                image_two,
                image_one,
                {"type": "text", "text": "\nWhere?"},
            ],
        },
    ]


parts = st.lists(st.one_of(st.text(max_size=5), st.sampled_from([ONE, TWO])), max_size=12)


@given(parts)
def test_no_part_is_lost_and_neighbouring_texts_are_one(given: list[Part]) -> None:
    request = Request(tuple(given))
    (message,) = chat(request, decoded(request))
    content = message["content"]
    written = "".join(part.get("text", "<image>") for part in content)
    assert written == request.text("<image>")
    shown = [part["uuid"] for part in content if part["type"] == "image_pil"]
    assert shown == [f"id of {image.name}" for image in request.images]
    kinds = [part["type"] for part in content]
    assert ("text", "text") not in set(itertools.pairwise(kinds))


def test_sampling_says_everything_that_a_checkpoint_might() -> None:
    asked = Generation(max_new_tokens=9, temperature=0.7, top_p=0.9, seed=3)
    assert sampling(asked) == {"temperature": 0.7, "top_p": 0.9, "seed": 3, "detokenize": False}
    assert sampling(Generation())["temperature"] == 0


def test_beams_and_too_many_images_are_refused_before_any_is_decoded() -> None:
    with pytest.raises(ModelError, match="num_beams 3: vLLM's engine has no beam search"):
        check(Request(("?",), Generation(num_beams=3)), max_images=6)
    with pytest.raises(ModelError, match=r"shows 3 images, .* takes 2: --model-arg max_images=3"):
        check(Request((ONE, TWO, ONE)), max_images=2)
    check(Request((ONE, TWO)), max_images=2)
