"""The transformers adapter, against a real (tiny, untrained) Qwen2-VL checkpoint."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.hostile_adapters import Mute
from support.tiny_chat import Generate, Vision, answers, ask, texts

from migbench.messages import AdapterError, Answer, Generation, ImageFile, ModelError, Request
from model_adapters import tiny_qwen2_vl
from model_adapters.transformers.adapter import TransformersAdapter


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


# What the model is shown


@pytest.mark.parametrize("count", [2, 3, 6])
def test_answers_a_question_about_several_images(
    adapter: TransformersAdapter, images: list[ImageFile], count: int
) -> None:
    shown = images[:count]
    with_images = ask(shown)
    without = dataclasses.replace(
        with_images, parts=tuple(part for part in with_images.parts if isinstance(part, str))
    )
    answer, textual = answers(adapter, [with_images, without])
    assert isinstance(answer, Answer)
    assert isinstance(textual, Answer)
    assert answer.text
    assert answer.seconds
    assert answer.seconds > 0
    assert 1 <= (answer.completion_tokens or 0) <= 12
    tokens_an_image = [6, 14, 15, 4, 11, 15, 9, 25]  # one a 28 x 28 block of the resized image
    added = sum(tokens_an_image[:count]) + 2 * count  # each between vision_start and vision_end
    assert (answer.prompt_tokens or 0) - (textual.prompt_tokens or 0) == added


def test_texts_and_images_reach_the_model_in_the_order_of_the_parts(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    parts = ("before ", images[3], " between ", images[3], images[3], " after 一")
    answers(adapter, [Request(parts, Generation(max_new_tokens=1), system="Be exact.")])
    (tokens,) = generate.calls[0]["input_ids"].tolist()
    image = "<|vision_start|>" + 4 * "<|image_pad|>" + "<|vision_end|>"
    assert tiny_qwen2_vl.make_tokenizer().decode(tokens) == (
        "<|im_start|>system\nBe exact.<|im_end|>\n"
        f"<|im_start|>user\nbefore {image} between {image}{image} after 一<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_pixels_reach_the_model_in_the_order_of_the_images(
    adapter: TransformersAdapter, images: list[ImageFile], vision: Vision
) -> None:
    answers(adapter, [ask(images[2:4])])  # the very first prompt is read twice
    vision.pixels.clear()
    forth, back = answers(adapter, [ask(images), ask(images[::-1])])
    red = [patches.unflatten(1, (3, -1))[:, 0].mean().item() for patches in vision.pixels]
    assert len(red) == 16
    assert red[:8] == sorted(red[:8])
    assert red[8:] == red[:8][::-1]
    assert isinstance(forth, Answer)
    assert isinstance(back, Answer)
    assert forth.text != back.text


def test_the_chat_template_may_number_the_images(
    checkpoint: Path, images: list[ImageFile], generate: Generate
) -> None:
    numbering = TransformersAdapter(str(checkpoint), add_vision_id=True)
    answers(numbering, [Request((images[3], images[3], "?"))])
    (tokens,) = generate.calls[0]["input_ids"].tolist()
    prompt = tiny_qwen2_vl.make_tokenizer().decode(tokens)
    assert prompt.index("Picture 1: <|vision_start|>") < prompt.index("Picture 2: <|vision_start|>")


def test_pixel_limits_bound_the_size_of_images(checkpoint: Path, images: list[ImageFile]) -> None:
    def tokens(**limits: Any) -> int:
        bounded = TransformersAdapter(str(checkpoint), **limits)
        (answer,) = answers(bounded, [ask([images[6]])])
        assert isinstance(answer, Answer)
        return answer.prompt_tokens or 0

    block = 28 * 28
    assert tokens(max_pixels=4 * block) == tokens() - 9 + 4
    assert tokens(min_pixels=36 * block, max_pixels=64 * block) == tokens() - 9 + 36


# Batches


def test_a_batch_answers_as_one_by_one_does(
    adapter: TransformersAdapter, checkpoint: Path, images: list[ImageFile], generate: Generate
) -> None:
    requests = [
        ask(images[first : first + count], question)
        for count in (2, 3, 6)
        for first, question in enumerate(("Left?", "Find the red ball in Image-2.", "一?"))
    ]
    together = texts(answers(adapter, requests))
    assert generate.batch_sizes == [4, 4, 1]
    alone = TransformersAdapter(str(checkpoint), batch_size=1)
    assert together == texts(answers(alone, requests))
    assert generate.batch_sizes[3:] == [1] * 9
    assert len(set(together)) == 9, "the answers must depend on what is asked"


def test_fewer_requests_than_a_batch_are_not_kept_waiting(
    checkpoint: Path, images: list[ImageFile], generate: Generate
) -> None:
    large = TransformersAdapter(str(checkpoint), batch_size=64)
    assert large.max_concurrency == 128
    assert len(answers(large, [ask(images[:2])] * 3)) == 3
    assert generate.batch_sizes == [3]


def test_only_requests_with_equal_generation_settings_share_a_batch(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    requests = [ask([images[i]], max_new_tokens=3 + i % 2) for i in range(6)]
    outcomes = answers(adapter, requests)
    assert generate.batch_sizes == [3, 3]
    assert [call["max_new_tokens"] for call in generate.calls] == [3, 4]
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


@pytest.mark.asyncio
async def test_images_are_prepared_while_the_model_works_but_not_without_bound(
    checkpoint: Path,
    images: list[ImageFile],
    generate: Generate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    open_image = ImageFile.open
    may_go_on = threading.Event()

    def recording_open(image: ImageFile) -> Image.Image:
        opened.append(image.name)
        return open_image(image)

    def wait(batch_size: int) -> None:
        assert may_go_on.wait(timeout=30)

    monkeypatch.setattr(ImageFile, "open", recording_open)
    generate.before = wait
    adapter = TransformersAdapter(str(checkpoint), batch_size=1)
    calls = [asyncio.create_task(adapter.answer(ask([image]))) for image in images]
    while len(opened) < 1 + adapter.max_concurrency or not generate.calls:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(opened) == 1 + adapter.max_concurrency, "one in the model, and what waits next"
    may_go_on.set()
    await asyncio.gather(*calls)
    assert sorted(opened) == sorted(image.name for image in images)
    await adapter.close()


@pytest.mark.asyncio
async def test_requests_whose_callers_gave_up_are_not_answered(
    checkpoint: Path, images: list[ImageFile], generate: Generate
) -> None:
    adapter = TransformersAdapter(str(checkpoint), batch_size=2)
    calls = [asyncio.create_task(adapter.answer(ask([image]))) for image in images]
    await asyncio.sleep(0)
    for call in calls[:5]:
        call.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), timeout=30)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 5 + [Answer] * 3
    assert generate.batch_sizes == [2, 1]


# Failures of one request


def test_a_broken_image_fails_its_own_request_only(
    adapter: TransformersAdapter, images: list[ImageFile], tmp_path: Path
) -> None:
    path = tmp_path / "half.png"
    whole = images[7].read()
    path.write_bytes(whole[: len(whole) // 2])
    broken = ImageFile("half.png", path)
    good = [ask(images[:2]), ask(images[2:5])]
    outcomes = answers(adapter, [good[0], ask([images[0], broken]), good[1]])
    assert isinstance(outcomes[1], ModelError)
    assert "half.png" in str(outcomes[1])
    assert texts([outcomes[0], outcomes[2]]) == texts(answers(adapter, good))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (ImageFile("gone.png", Path("no/such/gone.png")), "gone.png: cannot be read"),
        (ImageFile("pathless.png"), "--images DIR"),
    ],
    ids=["missing file", "run without images"],
)
def test_an_absent_image_fails_its_request(
    adapter: TransformersAdapter, image: ImageFile, message: str
) -> None:
    (outcome,) = answers(adapter, [ask([image])])
    assert isinstance(outcome, ModelError)
    assert message in str(outcome)


def test_an_image_that_the_processor_refuses_fails_its_request(
    adapter: TransformersAdapter, tmp_path: Path
) -> None:
    path = tmp_path / "thread.png"
    Image.new("RGB", (401, 1)).save(path)
    (outcome,) = answers(adapter, [ask([ImageFile("thread.png", path)])])
    assert isinstance(outcome, ModelError)
    assert "aspect ratio" in str(outcome)
    assert "thread.png" in str(outcome)


@pytest.mark.parametrize("message", ["CUDA out of memory", "can't allocate memory: 9 GB"])
def test_a_batch_that_does_not_fit_is_split_until_it_does(
    adapter: TransformersAdapter,
    images: list[ImageFile],
    generate: Generate,
    caplog: pytest.LogCaptureFixture,
    message: str,
) -> None:
    import torch

    requests = [ask(images[i : i + 2], f"Number {i}?") for i in range(4)]
    expected = texts(answers(adapter, requests))
    generate.calls.clear()

    def exhaust(batch_size: int) -> None:
        if batch_size > 1:
            error = torch.OutOfMemoryError if "CUDA" in message else RuntimeError
            raise error(message)

    generate.before = exhaust
    assert texts(answers(adapter, requests)) == expected
    assert generate.batch_sizes == [4, 2, 1, 1, 2, 1, 1]
    assert "out of memory; batch_size=2" in caplog.text


def test_a_request_that_does_not_fit_alone_says_what_to_change(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    import torch

    def exhaust(batch_size: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    generate.before = exhaust
    outcomes = answers(adapter, [ask(images[:2])] * 3)
    assert [type(outcome) for outcome in outcomes] == [ModelError] * 3
    assert "lower --max-pixels" in str(outcomes[0])
    generate.before = lambda batch_size: None
    assert texts(answers(adapter, [ask(images[:2])])), "the adapter goes on afterwards"


def test_a_request_that_fails_in_the_model_does_not_take_its_batch_along(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    (asterisk,) = tiny_qwen2_vl.make_tokenizer()("*")["input_ids"]

    def fail(batch_size: int) -> None:
        if (generate.calls[-1]["input_ids"] == asterisk).any():
            raise RuntimeError("the model chokes")

    generate.before = fail
    outcomes = answers(adapter, [ask([images[0]], question) for question in "ab*d"])
    assert [type(outcome) for outcome in outcomes] == [Answer, Answer, ModelError, Answer]
    assert "the model chokes" in str(outcomes[2])


@pytest.mark.parametrize("part", ["prepare", "fitting", "generate"])
@pytest.mark.parametrize("error", [StopIteration("none left"), SystemExit(1), Mute()])
def test_no_exception_of_the_models_code_leaves_a_caller_waiting(
    adapter: TransformersAdapter,
    images: list[ImageFile],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    error: BaseException,
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(adapter._chat, part, fail)
        outcomes = answers(adapter, [ask(images[:1])] * 3)
    assert [type(outcome) for outcome in outcomes] == [ModelError] * 3
    assert all(type(error).__name__ in str(outcome) for outcome in outcomes)
    assert texts(answers(adapter, [ask(images[:1])]))


def test_a_text_with_the_image_token_fails_its_request_by_name(
    adapter: TransformersAdapter, images: list[ImageFile]
) -> None:
    good = ask(images[:1])
    outcomes = answers(adapter, [Request((images[0], "Find <|image_pad|> here.")), good])
    assert [type(outcome) for outcome in outcomes] == [ModelError, Answer]
    assert "the text holds <|image_pad|>" in str(outcomes[0])


def test_a_device_that_fails_for_good_leaves_no_caller_waiting(
    adapter: TransformersAdapter, images: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr(adapter._chat, "generate", fail)
    outcomes = answers(adapter, [ask(images[:1])] * 5)
    assert [type(outcome) for outcome in outcomes] == [ModelError] * 5
    assert "device-side assert" in str(outcomes[4])


@pytest.mark.asyncio
async def test_closing_stops_the_model_and_leaves_no_caller_waiting(
    checkpoint: Path, images: list[ImageFile], generate: Generate
) -> None:
    adapter = TransformersAdapter(str(checkpoint), batch_size=1)
    adapter._chat._end_ids = frozenset()  # it would not stop by itself
    adapter._chat._model.generation_config.eos_token_id = None
    request = ask(images[:2], max_new_tokens=5000)
    calls = [asyncio.create_task(adapter.answer(request)) for _ in range(5)]
    while not generate.calls:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(adapter.close(), timeout=10)
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), timeout=1)
    assert [str(outcome) for outcome in outcomes] == ["the model was stopped"] * 5
    assert len(generate.calls) == 1


# Decoding


def spoken(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have the model say ``text``, whatever it is asked."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    row = tiny_qwen2_vl.make_tokenizer()(text)["input_ids"]

    def generate(model: Any, **keywords: Any) -> Any:
        prompt = keywords["input_ids"]
        said = torch.tensor([row] * len(prompt))[:, : keywords["max_new_tokens"]]
        return torch.cat([prompt, said], dim=1)

    monkeypatch.setattr(Qwen2VLForConditionalGeneration, "generate", generate)


BOX = "<|object_ref_start|>it<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"


@pytest.mark.parametrize(
    ("said", "limit", "text", "truncated", "tokens"),
    [
        (f"{BOX}<|im_end|><|endoftext|>", 99, BOX, False, 18),
        (f"{BOX}<|im_end|>", 18, BOX, False, 18),
        ("<|im_end|><|endoftext|>", 99, "", False, 1),
        ("12345678", 4, "1234", True, 4),
        ("1234<|im_end|>", 4, "1234", True, 4),
        ("<|endoftext|>not this", 99, "", False, 1),
    ],
    ids=["padded", "ends at limit", "silence", "cut", "cut before its end", "other end token"],
)
def test_an_answer_reaches_to_its_end_token_or_is_truncated(
    adapter: TransformersAdapter,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    limit: int,
    text: str,
    truncated: bool,
    tokens: int,
) -> None:
    spoken(monkeypatch, said)
    (answer,) = answers(adapter, [Request(("?",), Generation(max_new_tokens=limit))])
    assert isinstance(answer, Answer)
    assert answer.text == text
    assert answer.truncated is truncated
    assert answer.completion_tokens == tokens


def test_the_checkpoints_own_decoding_settings_are_not_used(
    adapter: TransformersAdapter, copied: Path, images: list[ImageFile]
) -> None:
    path = copied / "generation_config.json"
    settings = json.loads(path.read_text())
    assert settings["do_sample"]
    path.write_text(json.dumps(settings | {"temperature": 5.0, "repetition_penalty": 9.0}))
    requests = [ask(images[:2]), ask(images[2:5])]
    other = TransformersAdapter(str(copied))
    assert texts(answers(other, requests)) == texts(answers(adapter, requests))


def test_sampling_follows_the_seed(adapter: TransformersAdapter, images: list[ImageFile]) -> None:
    def sampled(seed: int) -> list[str]:
        return texts(answers(adapter, [ask(images[:2], temperature=1.0, top_p=0.95, seed=seed)]))

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_beams_are_searched(
    adapter: TransformersAdapter, images: list[ImageFile], generate: Generate
) -> None:
    requests = [ask(images[:2], num_beams=3), ask(images[2:5], num_beams=3)]
    together = texts(answers(adapter, requests))
    assert generate.calls[0]["num_beams"] == 3
    assert together == [texts(answers(adapter, [request]))[0] for request in requests]
    assert together != texts(answers(adapter, [ask(images[:2]), ask(images[2:5])]))


# Starting


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "--batch-size must be a whole number of at least 1"),
        ({"batch_size": "8"}, "--batch-size must be a whole number of at least 1"),
        ({"max_pixels": -1}, "max_pixels must be"),
        (
            {"min_pixels": 9000, "max_pixels": 8000},
            "--min-pixels (9000) exceeds --max-pixels (8000)",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterError) as refusal:
        TransformersAdapter("anything", **settings)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "int4"}, "dtype 'int4' is not one of auto, bfloat16, float16, float32"),
        ({"device": "abacus"}, "does not load"),
        ({"attn_implementation": "none_such"}, "does not load"),
    ],
)
def test_settings_that_no_model_can_have_are_refused(
    checkpoint: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AdapterError) as refusal:
        TransformersAdapter(str(checkpoint), **settings)
    assert message in str(refusal.value)


def test_a_gpu_that_is_not_there_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AdapterError, match="device cuda:0: torch sees no GPU"):
        TransformersAdapter(str(checkpoint), device="cuda:0")


def damage_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def drop_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["visual.patch_embed.proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def rename_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "none_such"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights, "does not load"),
        (drop_a_weight, "lacks 1 of its model's weights (model.visual.patch_embed.proj.weight"),
        (rename_model, "none_such"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    ],
    ids=["cut weights", "missing weight", "unknown model", "config", "template", "processor"],
)
def test_a_damaged_checkpoint_is_named_with_its_damage(
    copied: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copied)
    with pytest.raises(AdapterError) as refusal:
        TransformersAdapter(str(copied))
    assert str(copied) in str(refusal.value)
    assert message in str(refusal.value)


def test_numbering_needs_a_template_that_knows_it(copied: Path) -> None:
    (copied / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(AdapterError, match="does not know add_vision_id"):
        TransformersAdapter(str(copied), add_vision_id=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./no/such/folder", "there is no such folder"),
        ("nobody/has-this-model", "check the folder or hub id, the network"),
    ],
)
def test_a_checkpoint_that_does_not_exist_is_named(
    checkpoint: Path, name: str, message: str
) -> None:
    with pytest.raises(AdapterError) as refusal:
        TransformersAdapter(name)
    assert name in str(refusal.value)
    assert message in str(refusal.value)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for other in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, other, sys)  # anything that imports
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AdapterError) as refusal:
        TransformersAdapter("anything")
    assert f"needs {package}" in str(refusal.value)
    assert "pip install 'migbench[transformers]'" in str(refusal.value)


# The tiny checkpoint


def test_the_tiny_checkpoint_has_the_layout_of_a_published_one(checkpoint: Path) -> None:
    files = {path.name: path for path in checkpoint.iterdir()}
    assert set(files) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in files.values()) < 5_000_000
    processing = json.loads(files["preprocessor_config.json"].read_text())
    assert processing["image_processor_type"] == "Qwen2VLImageProcessor"
    assert processing["processor_class"] == "Qwen2VLProcessor"


def test_the_tiny_checkpoint_follows_its_seed_to_the_byte(checkpoint: Path, tmp_path: Path) -> None:
    import torch

    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    state = torch.get_rng_state()
    again = content(tiny_qwen2_vl.build(tmp_path, seed=0))
    assert torch.equal(state, torch.get_rng_state())
    assert again == content(checkpoint)
    other = content(tiny_qwen2_vl.build(tmp_path, seed=1))
    assert {name for name in other if other[name] != again[name]} == {"model.safetensors"}


def test_the_tiny_tokenizer_keeps_every_text_and_special_token(checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = f"Où est-ce ? 在哪里 \U0001f50d {BOX}<|vision_start|><|image_pad|><|vision_end|>\n"
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == text
    assert len(tokenizer) == 256 + len(tiny_qwen2_vl.SPECIAL_TOKENS)
    specials = [tokenizer.convert_tokens_to_ids(token) for token in tiny_qwen2_vl.SPECIAL_TOKENS]
    assert specials == list(range(256, 270))


def test_the_tiny_checkpoint_says_that_it_is_untrained(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_qwen2_vl.main([str(tmp_path / "built"), "--seed", "3"])
    assert (tmp_path / "built" / "model.safetensors").is_file()
    assert "untrained" in capsys.readouterr().out
