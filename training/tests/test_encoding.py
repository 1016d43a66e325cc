"""Encoding equals what the published processor and model compute; only answers are learnt."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from migbench.asking.questions import Purpose, Turn
from migbench.boxes import Box
from migbench.dialects import ask, find_dialect, parse
from migbench.errors import DataError
from migbench.messages import ImageFile, Request
from migbench.mini import TASKS
from migbench.mini.conversations import DIALECT, Conversation, Round, write_box
from migtrain.miniature.encoding import UNLABELLED, Encoder, TooLongError
from migtrain.miniature.pixels import Pixels
from migtrain.miniature.scenes import SINGLE, SceneSource
from model_adapters.transformers.loading import load
from model_adapters.transformers.prompts import Preparer
from model_adapters.transformers.settings import TransformersSettings

torch = pytest.importorskip("torch")

EVERY_TASK = pytest.mark.parametrize("task", [SINGLE, *TASKS])


def load_with_pil(checkpoint: Path) -> Any:
    """The checkpoint as the transformers adapter loads it, with the published, PIL image processor.

    The torchvision one of newer releases resizes by another formula, and differs by a grey level.
    """
    found = load(TransformersSettings(checkpoint=str(checkpoint)))
    found.processor.image_processor = Qwen2VLImageProcessorPil.from_pretrained(checkpoint)
    return found


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> Any:
    return load_with_pil(checkpoint)


@pytest.fixture(scope="module")
def preparer(checkpoint: Path) -> Preparer:
    """The transformers adapter's, which takes its processor over."""
    return Preparer(load_with_pil(checkpoint).processor, image_cache_bytes=0, template={})


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return Encoder(checkpoint, max_tokens=4096)


def text_of(encoder: Encoder, tokens: Any) -> str:
    text: str = encoder.tokenizer.decode(tokens)
    return text


@EVERY_TASK
def test_prompts_are_those_of_an_evaluation(
    encoder: Encoder, preparer: Preparer, tmp_path: Path, task: str
) -> None:
    """Tokens and pixels before the answer are the transformers adapter's for this question."""
    example = SceneSource(task, seed=5).example(3)
    files = []
    for number, image in enumerate(example.images):
        path = tmp_path / f"{number}.png"
        image.save(path)
        files.append(ImageFile(path.name, path))
    (each_round,) = example.conversation.rounds
    asked = each_round.question.replace("<image>", "")
    request = Request((*files, asked))
    prepared = preparer.prepare(request).inputs
    encoded = encoder.encode(example.conversation, example.images)
    asked_tokens = encoded.tokens[encoded.labels == UNLABELLED]
    assert asked_tokens.tolist() == prepared["input_ids"][0].tolist()
    pixels = encoder.pixels.normalise(torch.from_numpy(encoded.patches))
    torch.testing.assert_close(pixels, prepared["pixel_values"], rtol=0, atol=1e-6)
    assert [[1, *grid] for grid in encoded.grids] == prepared["image_grid_thw"].tolist()


@EVERY_TASK
def test_questions_are_worded_by_the_evaluations_own_ask(task: str) -> None:
    example = SceneSource(task, seed=5, turns=9).example(2)
    first, *others = example.conversation.rounds
    images = len(example.images)
    assert first.question.startswith("<image>" * images)
    assert all("<image>" not in other.question for other in others)
    files = [ImageFile(name) for name in example.conversation.images]
    stem = first.question.replace("<image>", "").partition("Format:")[0]
    again = ask(
        find_dialect(DIALECT), Turn(Purpose.DIRECT, stem, tuple(range(images)), (0,)), files
    )
    assert again.text("<image>") == first.question


@EVERY_TASK
def test_answers_read_back_as_the_scenes_boxes(task: str) -> None:
    source = SceneSource(task, seed=5, turns=9)
    for number in range(3):
        for each_round in source.example(number).conversation.rounds:
            reading = parse(find_dialect(DIALECT), each_round.answer)
            (found,) = reading.boxes
            assert write_box(found.box) == each_round.answer
            assert found.box.has_area


def test_boxes_are_written_below_a_thousand() -> None:
    assert write_box(Box(0, 0.0004, 1, 0.9996)) == "<|box_start|>(0,0),(999,999)<|box_end|>"


def test_only_answers_and_their_ends_have_labels(encoder: Encoder) -> None:
    example = SceneSource("region", seed=1, turns=3).example(4)
    encoded = encoder.encode(example.conversation, example.images)
    learnt = encoded.labels != UNLABELLED
    assert (encoded.labels[learnt] == encoded.tokens[learnt]).all()
    answers = [each_round.answer for each_round in example.conversation.rounds]
    assert len(answers) > 1
    assert text_of(encoder, encoded.tokens[learnt]) == "".join(f"{a}<|im_end|>" for a in answers)


def test_several_turns_are_the_chat_templates(encoder: Encoder) -> None:
    conversation = Conversation(
        "", "chat", (), (Round("Wer?", "Ich."), Round("你？", "我。"), Round("?", "!"))
    )
    messages = [
        {"role": role, "content": text}
        for each in conversation.rounds
        for role, text in (("user", each.question), ("assistant", each.answer))
    ]
    whole = encoder.tokenizer.apply_chat_template(messages, tokenize=False)
    encoded = encoder.encode(conversation, [])
    assert text_of(encoder, encoded.tokens) + "\n" == whole
    assert encoded.patches.shape == (0, 588)


def test_images_stand_where_the_text_shows_them(encoder: Encoder) -> None:
    conversation = Conversation(
        "", "x", ("a", "b"), (Round("<image>\n<image>\nHow?", "So."), Round("And?", "Too."))
    )
    images = [Image.new("RGB", (56, 56)), Image.new("RGB", (84, 56))]
    text = text_of(encoder, encoder.encode(conversation, images).tokens)
    first, second = ("<|vision_start|>" + n * "<|image_pad|>" + "<|vision_end|>" for n in (4, 6))
    assert f"<|im_start|>user\n{first}\n{second}\nHow?<|im_end|>" in text


def test_images_of_later_turns_come_in_order(encoder: Encoder, loaded: Any) -> None:
    conversation = Conversation(
        "", "x", ("a", "b"), (Round("<image>This?", "Yes."), Round("That? <image>", "No."))
    )
    images = [Image.new("RGB", (56, 84), "red"), Image.new("RGB", (112, 56), "blue")]
    encoded = encoder.encode(conversation, images)
    stock = loaded.processor.image_processor(images, return_tensors="pt")
    assert [[1, *grid] for grid in encoded.grids] == stock["image_grid_thw"].tolist()
    assert (encoded.tokens == encoder.image_id).sum() == 6 + 8


@pytest.mark.parametrize("size", [(56, 56), (300, 40), (33, 301), (1200, 900), (29, 29), (8, 6)])
def test_pixels_are_the_stock_processors(
    loaded: Any, checkpoint: Path, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(size)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    pixels = Pixels.read(checkpoint)
    patches, grid = pixels.patches(image)
    stock = loaded.processor.image_processor([image], return_tensors="pt")
    assert stock["image_grid_thw"].tolist() == [[1, *grid]]
    ours = pixels.normalise(torch.from_numpy(patches))
    torch.testing.assert_close(ours, stock["pixel_values"], rtol=0, atol=1e-6)


@EVERY_TASK
def test_positions_are_the_models_own(encoder: Encoder, loaded: Any, task: str) -> None:
    examples = [SceneSource(task, seed=2, turns=2).example(number) for number in range(2)]
    encoded = [encoder.encode(each.conversation, each.images) for each in examples]
    batch = encoder.batch(encoded)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    positions, _ = loaded.model.model.get_rope_index(
        ids, (ids == encoder.image_id).int(), batch["image_grid_thw"], attention_mask=mask
    )
    assert torch.equal(positions * mask, batch["position_ids"])


def test_a_batch_learns_what_its_examples_learn(encoder: Encoder, loaded: Any) -> None:
    """The padded batch has the loss that its examples have one by one."""
    examples = [SceneSource(task, seed=2).example(1) for task in ("diff", "object_tracking")]
    encoded = [encoder.encode(each.conversation, each.images) for each in examples]

    def summed_loss(part: list[Any]) -> float:
        batch = encoder.batch(part)
        batch["pixel_values"] = encoder.pixels.normalise(batch.pop("patches"))
        with torch.no_grad():
            return float(loaded.model(**batch, num_items_in_batch=1).loss)

    apart = sum(summed_loss([each]) for each in encoded)
    assert summed_loss(encoded) == pytest.approx(apart, rel=1e-4)


def test_later_exchanges_that_do_not_fit_are_left_out(checkpoint: Path, encoder: Encoder) -> None:
    example = SceneSource("region", seed=1, turns=3).example(4)
    whole = encoder.encode(example.conversation, example.images)
    first = dataclasses.replace(example.conversation, rounds=example.conversation.rounds[:1])
    shorter = Encoder(checkpoint, max_tokens=len(whole.tokens) - 1)
    fewer = dataclasses.replace(first, rounds=example.conversation.rounds[:-1])
    cut = shorter.encode(example.conversation, example.images)
    assert cut.tokens.tolist() == encoder.encode(fewer, example.images).tokens.tolist()
    assert len(cut.tokens) < len(whole.tokens)
    with pytest.raises(TooLongError, match="more than 20"):
        Encoder(checkpoint, max_tokens=20).encode(first, example.images)


def test_published_image_settings_are_read_in_both_spellings(
    checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copy(checkpoint / "preprocessor_config.json", tmp_path)
    path = tmp_path / "preprocessor_config.json"
    old = Pixels.read(tmp_path)
    settings = json.loads(path.read_bytes())
    settings["size"] = {
        "shortest_edge": settings.pop("min_pixels"),
        "longest_edge": settings.pop("max_pixels"),
    }
    path.write_text(json.dumps(settings))
    assert Pixels.read(tmp_path) == old
    path.write_text("{}")
    with pytest.raises(DataError, match="does not say how images are prepared"):
        Pixels.read(tmp_path)


def test_another_kind_of_chat_template_is_refused(checkpoint: Path) -> None:
    encoder = Encoder(checkpoint, max_tokens=99)
    encoder.tokenizer.chat_template = "{{ messages | length }}"
    with pytest.raises(DataError, match="only Qwen2-VL's kind of template"):
        encoder.encode(Conversation("", "x", (), (Round("a", "b"),)), [])
