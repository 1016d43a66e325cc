"""The engine under the adapter: what it computes once, what it refuses, and what it leaves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from asking import ask_all
from conftest import CONTEXT, ENGINE, picture
from lora import write_lora
from PIL import Image

from migbench.messages import Answer, Generation, ImageFile, ModelError, Request
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.vllm.adapter import VllmAdapter


@pytest.fixture
def images(tmp_path: Path) -> list[ImageFile]:
    """Three images that no other test shows."""
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        image = picture(200 + number, 150)
        image.putpixel((0, 0), tuple(hash(str(tmp_path)) >> shift & 255 for shift in (0, 8, 16)))
        image.save(path)
        files.append(ImageFile(path.name, path))
    return files


def about(images: list[ImageFile], question: str = "Where?", **generation: Any) -> Request:
    return Request((*images, question), Generation(**({"max_new_tokens": 8} | generation)))


def refusal(adapter: VllmAdapter, request: Request, loop: asyncio.Runner) -> str:
    with pytest.raises(ModelError) as error:
        ask_all(adapter, [request], loop)
    return str(error.value)


# --- What is computed once -----------------------------------------------------------------------


def test_siblings_of_an_image_set_find_its_prefix_computed(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    (first,) = ask_all(vllm, [about(images, "What is red?")], loop)
    siblings = ask_all(vllm, [about(images, f"What is {n}?") for n in range(4)], loop)
    template_alone = 64
    assert (first.cached_tokens or 0) <= template_alone
    for sibling in siblings:
        # All but the question, to the last full block.
        shared = (sibling.prompt_tokens or 0) - len("What is 0?<|im_end|>\n<|im_start|>assistant\n")
        assert shared - ENGINE["block_size"] < (sibling.cached_tokens or 0) <= shared + 32


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded, in order."""
    names: list[str] = []
    decode = ImageFile.open

    def recording(image: ImageFile) -> Image.Image:
        names.append(image.name)
        return decode(image)

    monkeypatch.setattr(ImageFile, "open", recording)
    return names


def test_each_image_is_decoded_and_processed_once(
    vllm: VllmAdapter,
    images: list[ImageFile],
    decoded: list[str],
    loop: asyncio.Runner,
    tmp_path: Path,
) -> None:
    processed = vllm._engine._engine.renderer.stat_mm_cache
    processed()  # reading the counters sets them back
    ask_all(vllm, [about(images, f"Question {n}?") for n in range(5)], loop)
    assert sorted(decoded) == [image.name for image in images]
    counts = processed()
    assert (counts.queries, counts.hits) == (15, 12)
    # The same content elsewhere is the same image to the engine.
    copy = ImageFile("copy.png", Path(shutil.copy(str(images[0].path), tmp_path / "copy.png")))
    ask_all(vllm, [about([copy])], loop)
    counts = processed()
    assert (counts.queries, counts.hits) == (1, 1)


# --- Sampling ------------------------------------------------------------------------------------


def test_sampling_follows_its_seed(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    def said(**generation: Any) -> str:
        return ask_all(vllm, [about(images, **generation)], loop)[0].text

    warm = {"temperature": 1.5, "max_new_tokens": 24}
    assert said(**warm, seed=1) == said(**warm, seed=1) != said(**warm, seed=2)
    # The checkpoint's own temperature of 0.01 and top_k of 1 would make every seed greedy.
    assert said(**warm, seed=1) != said(max_new_tokens=24)
    assert said(max_new_tokens=24, seed=1) == said(max_new_tokens=24, seed=2)


# --- What one request alone is refused for -------------------------------------------------------


def test_too_many_images_are_refused_with_the_setting_to_raise(
    vllm: VllmAdapter, images: list[ImageFile], decoded: list[str], loop: asyncio.Runner
) -> None:
    told = refusal(vllm, about([*images, *images, images[0]]), loop)
    assert "shows 7 images" in told
    assert "--model-arg max_images=7" in told
    assert decoded == []


@pytest.mark.parametrize("shown", [0, 3])
def test_a_prompt_that_is_too_long_is_refused_with_the_remedy(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner, shown: int
) -> None:
    told = refusal(vllm, about(images[:shown], "x" * (CONTEXT - 30 * shown)), loop)
    assert str(CONTEXT) in told
    assert "raise --engine-args max_model_len, or lower --max-pixels" in told


def test_an_answer_cut_by_the_context_is_no_answer(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    (answer,) = ask_all(vllm, [about(images, max_new_tokens=1)], loop)
    room = 5
    filler = "x" * (CONTEXT - room - (answer.prompt_tokens or 0))
    told = refusal(vllm, about(images, f"Where?{filler}", max_new_tokens=500), loop)
    assert f"max_model_len {CONTEXT} leaves a prompt of {CONTEXT - room} tokens room" in told
    (fits,) = ask_all(vllm, [about(images, f"Where?{filler}", max_new_tokens=room)], loop)
    assert fits.completion_tokens == room


def test_beams_are_refused(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    assert "num_beams 4" in refusal(vllm, about(images, num_beams=4), loop)


def test_a_bad_image_costs_its_own_request_only(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(images[0].read()[:200])
    Image.new("RGB", (900, 4)).save(tmp_path / "thin.png")
    bad = {
        "broken.png": "image broken.png: cannot be decoded",
        "missing.png": "image missing.png: cannot be read",
        "thin.png": "aspect ratio must be smaller than 200",
    }
    requests = [about([images[0], ImageFile(name, tmp_path / name)]) for name in bad]
    good = about(images)
    (alone,) = ask_all(vllm, [good], loop)

    async def together() -> list[Answer | BaseException]:
        calls = map(vllm.answer, [requests[0], good, requests[1], requests[2], good, requests[2]])
        return await asyncio.gather(*calls, return_exceptions=True)

    first, answer, second, third, again, once_more = loop.run(together())
    for outcome, words in zip((first, second, third), bad.values(), strict=True):
        assert isinstance(outcome, ModelError)
        assert words in str(outcome)
    assert str(once_more) == str(third)
    assert isinstance(answer, Answer)
    assert isinstance(again, Answer)
    assert answer.text == again.text == alone.text


def test_a_request_given_up_leaves_the_engine(
    vllm: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    engine = vllm._engine._engine

    async def give_up() -> int:
        asked = asyncio.create_task(vllm.answer(about(images, max_new_tokens=3000)))
        while engine.get_num_unfinished_requests() == 0:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return engine.get_num_unfinished_requests()

    assert loop.run(give_up()) == 0
    (answer,) = ask_all(vllm, [about(images)], loop)
    assert answer.text


# --- An engine with more settings, and its end ---------------------------------------------------

LIMITS = {"min_pixels": 9 * 28 * 28, "max_pixels": 20 * 28 * 28, "add_vision_id": True}


@pytest.fixture(scope="module")
def fine_tuned(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A LoRA adapter for the checkpoint, and a checkpoint with it merged in."""
    folder = tmp_path_factory.mktemp("lora")
    return write_lora(checkpoint, folder / "adapter", folder / "merged")


@pytest.fixture(scope="module")
def limited(
    checkpoint: Path, fine_tuned: tuple[Path, Path], loop: asyncio.Runner
) -> Iterator[VllmAdapter]:
    adapter = VllmAdapter(
        str(checkpoint),
        dtype="float32",
        max_model_len=CONTEXT,
        lora=str(fine_tuned[0]),
        engine_args={**ENGINE, "max_num_seqs": 8},
        **LIMITS,
    )
    yield adapter
    loop.run(adapter.close())


def test_lora_pixel_limits_and_numbering_are_those_of_transformers(
    vllm: VllmAdapter,
    limited: VllmAdapter,
    fine_tuned: tuple[Path, Path],
    odd_images: dict[str, ImageFile],
    loop: asyncio.Runner,
) -> None:
    merged = TransformersAdapter(str(fine_tuned[1]), dtype="float32", **LIMITS)
    requests = [about([image], max_new_tokens=24) for image in odd_images.values()]
    expected = ask_all(merged, requests, loop)
    loop.run(merged.close())
    answers = ask_all(limited, requests, loop)
    assert [(a.text, a.prompt_tokens) for a in answers] == [
        (a.text, a.prompt_tokens) for a in expected
    ]
    plain = ask_all(vllm, requests, loop)
    assert all(
        one.text != other.text or one.prompt_tokens != other.prompt_tokens
        for one, other in zip(answers, plain, strict=True)
    )


def test_capacity_follows_what_the_engine_does_at_once(
    vllm: VllmAdapter, limited: VllmAdapter
) -> None:
    assert vllm.max_concurrency - limited.max_concurrency == 256 - 8


def test_closing_ends_the_processes_and_what_is_under_way(
    limited: VllmAdapter, images: list[ImageFile], loop: asyncio.Runner
) -> None:
    watcher = limited._engine._guard._watcher
    processes = [psutil.Process(int(pid)) for pid in watcher.args[3:]]
    processes += [child for process in processes for child in process.children(recursive=True)]
    assert len(processes) >= 2

    async def close() -> BaseException:
        asked = asyncio.create_task(limited.answer(about(images, max_new_tokens=3000)))
        while limited._engine._engine.get_num_unfinished_requests() == 0:
            await asyncio.sleep(0.01)
        await limited.close()
        (outcome,) = await asyncio.gather(asked, return_exceptions=True)
        return outcome

    assert isinstance(loop.run(close()), ModelError)
    assert "stopped" in refusal(limited, about(images), loop)
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
    assert watcher.returncode == 0
