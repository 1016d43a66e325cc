"""The engine, a server and transformers say the same: greedy, in float32, to the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from asking import ask_all, ask_benchmark, parting
from conftest import picture
from PIL import Image, ImageOps

from migbench.messages import Adapter, Generation, ImageFile, Request
from model_adapters.openai.adapter import OpenAIAdapter
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.vllm.adapter import VllmAdapter

FORMS = {
    "polling": {},
    "all at once": {"evaluator": "all-at-once", "tasks": ("common_object", "OT"), "limit": 3},
    "chain of thought": {"strategy": "cot", "tasks": ("region", "reasoning"), "limit": 2},
    "multi-image chain": {"strategy": "mcot", "tasks": ("correspondence", "GG"), "limit": 2},
}


@pytest.mark.parametrize("form", FORMS)
def test_all_three_give_identical_answers(
    vllm: VllmAdapter,
    served: OpenAIAdapter,
    transformers: TransformersAdapter,
    checkpoint: Path,
    mini: Path,
    loop: asyncio.Runner,
    form: str,
) -> None:
    def asked(adapter: VllmAdapter | OpenAIAdapter | TransformersAdapter) -> list:
        return ask_benchmark(adapter, checkpoint, mini, loop, **FORMS[form])

    reference = asked(transformers)
    differences = []
    for name, others in (("vllm", asked(vllm)), ("server", asked(served))):
        for expected, other in zip(reference, others, strict=True):
            assert other.name == expected.name
            text, wanted = other.answer.text, expected.answer.text
            if text != wanted:
                where = parting(transformers, expected.request, wanted, text)
                differences.append(f"{name}, {expected.name}, {where}")
            else:
                assert other.answer.truncated == expected.answer.truncated
                assert other.answer.prompt_tokens == expected.answer.prompt_tokens
                assert other.answer.completion_tokens == expected.answer.completion_tokens
    assert not differences, "\n".join(differences)
    texts = {one.answer.text for one in reference}
    assert len(texts) > len(reference) / 2, "the answers hardly depend on what is asked"


def about(images: Sequence[ImageFile], **generation: object) -> Request:
    shown = [part for i, image in enumerate(images, 1) for part in (f"Image-{i}: ", image, "\n")]
    return Request((*shown, "Where is it?"), Generation(max_new_tokens=24, **generation))


def test_images_of_any_size_shape_and_format(
    vllm: VllmAdapter,
    served: OpenAIAdapter,
    transformers: TransformersAdapter,
    odd_images: dict[str, ImageFile],
    loop: asyncio.Runner,
) -> None:
    names = list(odd_images)
    requests = [about([image]) for image in odd_images.values()]
    requests += [about([odd_images[n] for n in names[i : i + 3]]) for i in range(len(names) - 2)]
    reference = ask_all(transformers, requests, loop)
    for adapter in (vllm, served):
        others = ask_all(adapter, requests, loop)
        for request, expected, other in zip(requests, reference, others, strict=True):
            shown = [image.name for image in request.images]
            assert other.prompt_tokens == expected.prompt_tokens, shown
            assert other.text == expected.text, (
                f"{adapter}, {shown}: {parting(transformers, request, expected.text, other.text)}"
            )


def test_turned_and_transparent_images_are_the_same_picture_behind_a_server(
    vllm: VllmAdapter,
    served: OpenAIAdapter,
    transformers: TransformersAdapter,
    loop: asyncio.Runner,
    tmp_path: Path,
) -> None:
    stored, turn = picture(150, 100), Image.Exif()
    turn[0x0112] = 6  # to be shown turned by a quarter
    stored.save(tmp_path / "turned.png", exif=turn)
    ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")).save(tmp_path / "upright.png")
    stored.putalpha(Image.linear_gradient("L").resize(stored.size))
    stored.save(tmp_path / "transparent.png")
    white = Image.new("RGBA", stored.size, "white")
    white.paste(stored, mask=stored.split()[3])
    white.convert("RGB").save(tmp_path / "white.png")

    def said(adapter: Adapter, *names: str) -> list[str]:
        requests = [about([ImageFile(name, tmp_path / name)]) for name in names]
        return [answer.text for answer in ask_all(adapter, requests, loop)]

    # Boxes lie in the image as it is stored, and so it is shown, by the server too.
    shown = said(transformers, "turned.png", "transparent.png")
    assert said(vllm, "turned.png", "transparent.png") == shown
    assert said(served, "turned.png", "transparent.png") == shown
    upright, on_white = said(transformers, "upright.png", "white.png")
    assert (shown[0] == upright, shown[1] == on_white) == (False, True)


def test_system_prompts_and_texts_between_images(
    vllm: VllmAdapter,
    served: OpenAIAdapter,
    transformers: TransformersAdapter,
    odd_images: dict[str, ImageFile],
    loop: asyncio.Runner,
) -> None:
    one, two = odd_images["37x211.png"], odd_images["photo.jpg"]
    parts = ("A\n", "B ", one, two, "", " then ", one, "\n\nC 一 <|box_start|>(1,2)<|box_end|> ")
    requests = [
        Request(parts, Generation(max_new_tokens=24), system=" Be exact.\n"),
        Request(parts, Generation(max_new_tokens=24)),
        Request(("No image at all?",), Generation(max_new_tokens=24)),
    ]
    reference = ask_all(transformers, requests, loop)
    for adapter in (vllm, served):
        others = ask_all(adapter, requests, loop)
        assert [(a.text, a.prompt_tokens) for a in others] == [
            (a.text, a.prompt_tokens) for a in reference
        ]


def test_where_answers_part_is_told(
    transformers: TransformersAdapter, odd_images: dict[str, ImageFile], loop: asyncio.Runner
) -> None:
    request = about([odd_images["photo.jpg"]])
    (answer,) = ask_all(transformers, [request], loop)
    other = answer.text[:5] + ("a" if answer.text[5] != "a" else "b")
    told = parting(transformers, request, answer.text, other)
    assert told.startswith("at token ")
    said, doctored = (float(part.split(")")[0]) for part in told.split(" (")[1:3])
    assert doctored < said <= 0
