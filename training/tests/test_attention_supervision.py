"""Attention targets of drawn scenes, and heads that are trained on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from interrupted import interrupt, losses
from PIL import Image

from migbench.boxes import Box
from migbench.mini.conversations import Conversation, Round, write_box
from migtrain.miniature.attention_targets import AttentionTargetEncoder
from migtrain.miniature.encoding import Encoder, TargetType
from migtrain.miniature.image_tokens import covered_cells, image_tokens_of
from migtrain.miniature.models import load_model
from migtrain.miniature.recipe import ModelChoice, Recipe, ScheduleStage, find_recipe
from migtrain.miniature.scenes import Example, SceneSource
from migtrain.miniature.train import MODEL, train
from model_adapters import tiny_qwen2_vl

torch = pytest.importorskip("torch")

TOY = str(Path(__file__).with_name("toy.yaml"))

changed = msgspec.structs.replace


def test_a_box_covers_the_cells_that_lie_in_it() -> None:
    assert covered_cells(Box(0.25, 0.0, 0.75, 0.5), 2, 4).tolist() == [1, 2]
    assert covered_cells(Box(0.0, 0.0, 1.0, 1.0), 2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert covered_cells(Box(0.3, 0.6, 0.32, 0.7), 2, 2).tolist() == [2], "smaller than a cell"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("task", ["region", "object_tracking", "common_object"])
def test_boxes_attend_to_what_they_bound(checkpoint: Path, task: str, at_once: bool) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource(task, seed=4, turns=1 if at_once else 3, at_once=at_once)
    example = source.example(2)
    encoded = AttentionTargetEncoder(encoder)(example)
    asked = [each for turn in example.conversation.rounds for each in turn.targets]
    targets = [target for target in encoded.targets if target.type is TargetType.ANSWER]
    assert len(targets) == len(asked) > 0
    images = np.unique(encoded.positions[0][encoded.tokens == encoder.image_id])
    for target, grounded in zip(targets, asked, strict=True):
        written = encoder.tokenizer.decode(encoded.tokens[target.queries[0] :])
        assert written.startswith(write_box(grounded.box))
        querying = encoder.tokenizer.decode(encoded.tokens[target.queries])
        assert querying + "<|box_end|>" == write_box(grounded.box), "every token of the box"
        assert grounded.image is not None
        grid = encoded.grids[grounded.image]
        rows, columns = grid.rows // 2, grid.columns // 2
        time, down, right = encoded.positions[:, target.keys]
        assert set(time) == {images[grounded.image]}
        cells = (down - time) * columns + right - time
        assert cells.tolist() == covered_cells(grounded.box, rows, columns).tolist()


def test_a_name_attends_where_its_box_does(checkpoint: Path) -> None:
    """Each name of a talk, at its end, whatever was asked before."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    encoded = AttentionTargetEncoder(encoder)(
        SceneSource("group_grounding", seed=1, turns=3).example(3)
    )
    targets = {
        target_type: [each for each in encoded.targets if each.type is target_type]
        for target_type in TargetType
    }
    assert len(targets[TargetType.NAME]) == len(targets[TargetType.ANSWER]) == 3
    for name, answer in zip(targets[TargetType.NAME], targets[TargetType.ANSWER], strict=True):
        assert name.keys.tolist() == answer.keys.tolist()
        assert name.queries[0] < answer.queries[0]
        assert encoder.tokenizer.decode(encoded.tokens[name.queries]) == "<|object_ref_end|>"
    assert np.unique([each.queries[0] for each in targets[TargetType.NAME]]).size == 3


def test_objects_attend_to_those_alike_in_earlier_images(checkpoint: Path) -> None:
    """The object of the first image is one of several in the second; others are nowhere else."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    example = SceneSource("refer_grounding", seed=1).example(3)
    encoded = AttentionTargetEncoder(encoder)(example)
    (sought,) = {(each.class_index, each.colour) for each in example.objects[0]}
    others = {(each.class_index, each.colour) for each in example.objects[1]} - {sought}
    targets = [target for target in encoded.targets if target.type is TargetType.MATCH]
    found = [target for target in targets if target.keys.tolist() != [0]]
    assert len(targets) - len(found) == len(others) > 0
    (match,) = found
    (answer,) = (target for target in encoded.targets if target.type is TargetType.ANSWER)
    assert set(match.queries) & set(answer.keys), "what is asked for is what matches"
    assert match.keys.max() < min(target.queries.min() for target in targets), "an image before"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("task", ["region", "object_tracking", "common_object", "multi_view"])
def test_boxes_attend_to_the_number_asked_for(checkpoint: Path, task: str, at_once: bool) -> None:
    """The image's, or the cutting's, from the question or, asked at once, from the line begun."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource(task, seed=4, turns=1 if at_once else 3, at_once=at_once)
    example = source.example(2)
    encoded = AttentionTargetEncoder(encoder)(example)
    numbers = [target for target in encoded.targets if target.type is TargetType.NUMBER]
    answers = [target for target in encoded.targets if target.type is TargetType.ANSWER]
    assert [target.queries.tolist() for target in numbers] == [
        target.queries.tolist() for target in answers
    ]
    read = [encoder.tokenizer.decode(encoded.tokens[target.keys]) for target in numbers]
    if at_once:
        answer = example.conversation.rounds[0].answer
        assert read == re.findall(r"(?:Image|Region)-(\d):", answer)
    else:
        asked = [turn.question for turn in example.conversation.rounds]
        assert read == [re.findall(r"(\d)th", question)[-1] for question in asked]


def reference_of(checkpoint: Path, task: str, number: int) -> tuple[Example, list[Any], list[Any]]:
    """A scene, its images among the tokens, and what its box takes for a reference."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    example = SceneSource(task, seed=3).example(number)
    encoded = AttentionTargetEncoder(encoder)(example)
    images = image_tokens_of(encoder, example, encoded)
    return (
        example,
        images,
        [target.keys.tolist() for target in encoded.targets if target.type is TargetType.REFERENCE],
    )


@pytest.mark.parametrize("task", ["object_tracking", "multi_view", "correspondence"])
def test_what_is_marked_is_a_reference(checkpoint: Path, task: str) -> None:
    example, images, (reference,) = reference_of(checkpoint, task, 1)
    (marked,) = {each for each in example.objects[0] if each.marked}
    assert set(images[0].within(Box(*marked.box))) & set(reference)
    assert set(reference) <= set(images[0].objects())


@pytest.mark.parametrize("task", ["refer_grounding", "reasoning"])
def test_what_stands_alone_is_a_reference(checkpoint: Path, task: str) -> None:
    _, images, (reference,) = reference_of(checkpoint, task, 1)
    assert reference == images[0].objects().tolist()


def test_the_cutting_asked_for_is_a_reference(checkpoint: Path) -> None:
    example, images, (reference,) = reference_of(checkpoint, "region", 2)
    number = int(re.findall(r"(\d)th", example.conversation.rounds[0].question)[-1])
    assert set(reference) <= set(images[number].places)


def test_what_images_share_is_a_reference(checkpoint: Path) -> None:
    _, images, (reference,) = reference_of(checkpoint, "common_object", 2)
    assert all(set(reference) & set(image.places) for image in images)


def test_a_difference_has_no_reference(checkpoint: Path) -> None:
    assert reference_of(checkpoint, "diff", 1)[2] == []


def test_what_was_taken_away_is_attended_to_in_both_images(checkpoint: Path) -> None:
    """The tokens of the first cannot know yet that it will be gone."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource("diff", seed=1)
    drawn = (source.example(number) for number in range(20))
    example = next(each for each in drawn if each.conversation.rounds[0].targets[0].image == 0)
    encoded = AttentionTargetEncoder(encoder)(example)
    before, after = image_tokens_of(encoder, example, encoded)
    (target,) = (target for target in encoded.targets if target.type is TargetType.ANSWER)
    box = example.conversation.rounds[0].targets[0].box
    assert target.keys.tolist() == [*before.within(box), *after.within(box)]


def test_images_attend_to_their_numbers_where_the_chat_numbers_them(
    checkpoint: Path, tmp_path: Path
) -> None:
    numbered = tiny_qwen2_vl.build(tmp_path / "numbered", numbered=True)
    source = SceneSource("object_tracking", seed=4)
    encoder = Encoder(numbered, max_tokens=4096)
    encoded = AttentionTargetEncoder(encoder)(source.example(0))
    targets = [target for target in encoded.targets if target.type is TargetType.PICTURE]
    read = [encoder.tokenizer.decode(encoded.tokens[target.keys]) for target in targets]
    assert read == ["1", "2", "3", "4", "5", "6"]
    places = np.concatenate([target.queries for target in targets])
    assert places.tolist() == np.flatnonzero(encoded.tokens == encoder.image_id).tolist()
    plain = AttentionTargetEncoder(Encoder(checkpoint, max_tokens=4096))(source.example(0))
    assert not [target for target in plain.targets if target.type is TargetType.PICTURE]


def test_images_of_unknown_content_have_no_targets(checkpoint: Path) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    image = Image.new("RGB", (56, 56))
    shown = Round("<image>Where?", "<|box_start|>(1,2),(3,4)<|box_end|>")
    example = Example(Conversation("", "x", ("a",), (shown,)), (image,))
    assert AttentionTargetEncoder(encoder)(example).targets == ()


def batch_of(encoder: Encoder, tasks: Sequence[str]) -> dict[str, Any]:
    from migtrain.miniature.attention_supervision import collate

    encode = AttentionTargetEncoder(encoder)
    batch = collate(encoder, [encode(SceneSource(task, seed=2).example(1)) for task in tasks])
    batch["pixel_values"] = encoder.pixels.normalise(batch.pop("patches"))
    return batch


def test_the_loss_is_the_attention_cross_entropy(checkpoint: Path) -> None:
    """Held to the attention that transformers itself reports, target by target."""
    from migtrain.miniature.attention_supervision import HEADS, WEIGHTS, AttentionSupervision

    encoder = Encoder(checkpoint, max_tokens=4096)
    tasks = ("region", "diff", "group_grounding")
    batch = batch_of(encoder, tasks)
    model = load_model(ModelChoice(checkpoint=str(checkpoint)), checkpoint)
    supervision = AttentionSupervision(model.train(), 3.0)
    taken = supervision.take(batch)
    attended = model(**batch, output_attentions=True).attentions
    loss = supervision.loss(taken, None)
    cross_entropies = []
    for row, task in enumerate(tasks):
        for target in AttentionTargetEncoder(encoder)(SceneSource(task, seed=2).example(1)).targets:
            layer, head = HEADS[target.type]
            heads = attended[layer % len(attended)][row]
            shares = heads[head % len(heads)][target.queries][:, target.keys].sum(1)
            cross_entropies.append(-WEIGHTS.get(target.type, 1.0) * shares.log().mean())
    labelled = int((batch["labels"] >= 0).sum())
    torch.testing.assert_close(loss, 3.0 * torch.stack(cross_entropies).sum() / labelled)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    recipe = find_recipe(TOY)
    return changed(
        recipe,
        attention_supervision=8.0,
        stages=(ScheduleStage(steps=8, shares={"single": 1, "refer_grounding": 1}),),
        save_every=2,
        log_every=1,
        validation=None,
    )


@pytest.fixture(scope="module")
def trained(toy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("supervised") / "whole"
    assert train(toy, out).finished
    return out


def test_heads_learn_their_targets(trained: Path) -> None:
    from migtrain.miniature.attention_supervision import AttentionSupervision

    cross_entropies = []
    tasks = ("single_grounding", "refer_grounding") * 2
    for folder in (trained / "start", trained / MODEL):
        batch = batch_of(Encoder(folder, max_tokens=4096), tasks)
        model = load_model(ModelChoice(checkpoint=str(folder)), folder)
        supervision = AttentionSupervision(model.train(), 1.0)
        taken = supervision.take(batch)
        model(**batch)
        cross_entropies.append(supervision.loss(taken, None).item())
    assert cross_entropies[1] < cross_entropies[0]


def test_smaller_batches_at_once_are_supervised_alike(
    toy: Recipe, trained: Path, tmp_path: Path
) -> None:
    whole = changed(toy, batch=changed(toy.batch, per_device=toy.batch.size))
    assert train(whole, tmp_path).finished
    assert losses(tmp_path) == pytest.approx(losses(trained), rel=1e-4)


def test_interrupted_and_resumed_equals_uninterrupted(
    toy: Recipe, trained: Path, tmp_path: Path
) -> None:
    interrupt(toy, tmp_path, step=5)
    assert train(toy, tmp_path).resumed_from == 4
    assert losses(tmp_path) == losses(trained)
