"""Learning to look: what tokens are told to look at, and that heads learn to heed it."""

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
from migtrain.miniature.encoding import Aim, Encoder
from migtrain.miniature.looks import LookingEncoder
from migtrain.miniature.models import load_model
from migtrain.miniature.recipe import ModelChoice, Recipe, Stretch, find_recipe
from migtrain.miniature.shown import covered_cells, shown_images
from migtrain.miniature.sources import Example, SceneSource
from migtrain.miniature.train import MODEL, train
from model_adapters import tiny_qwen2_vl

torch = pytest.importorskip("torch")

changed = msgspec.structs.replace


def test_a_box_covers_the_cells_that_lie_in_it() -> None:
    assert covered_cells(Box(0.25, 0.0, 0.75, 0.5), 2, 4).tolist() == [1, 2]
    assert covered_cells(Box(0.0, 0.0, 1.0, 1.0), 2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert covered_cells(Box(0.3, 0.6, 0.32, 0.7), 2, 2).tolist() == [2], "smaller than a cell"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("task", ["region", "object_tracking", "common_object"])
def test_boxes_look_at_what_they_bound(checkpoint: Path, task: str, at_once: bool) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource(task, seed=4, turns=1 if at_once else 3, at_once=at_once)
    example = source.example(2)
    encoded = LookingEncoder(encoder)(example)
    targets = [each for turn in example.conversation.rounds for each in turn.targets]
    looks = [look for look in encoded.looks if look.aim is Aim.ANSWER]
    assert len(looks) == len(targets) > 0
    images = np.unique(encoded.positions[0][encoded.tokens == encoder.image_id])
    for look, target in zip(looks, targets, strict=True):
        written = encoder.tokenizer.decode(encoded.tokens[look.by[0] :])
        assert written.startswith(write_box(target.box))
        looking = encoder.tokenizer.decode(encoded.tokens[look.by])
        assert looking + "<|box_end|>" == write_box(target.box), "every token of the box looks"
        assert target.image is not None
        grid = encoded.grids[target.image]
        rows, columns = grid.rows // 2, grid.columns // 2
        time, down, right = encoded.positions[:, look.at]
        assert set(time) == {images[target.image]}
        cells = (down - time) * columns + right - time
        assert cells.tolist() == covered_cells(target.box, rows, columns).tolist()


def test_a_name_looks_where_its_box_does(checkpoint: Path) -> None:
    """Each name of a talk, at its end, whatever was asked before."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    encoded = LookingEncoder(encoder)(SceneSource("group_grounding", seed=1, turns=3).example(3))
    looks = {aim: [each for each in encoded.looks if each.aim is aim] for aim in Aim}
    assert len(looks[Aim.NAME]) == len(looks[Aim.ANSWER]) == 3
    for name, answer in zip(looks[Aim.NAME], looks[Aim.ANSWER], strict=True):
        assert name.at.tolist() == answer.at.tolist()
        assert name.by[0] < answer.by[0]
        assert encoder.tokenizer.decode(encoded.tokens[name.by]) == "<|object_ref_end|>"
    assert np.unique([each.by[0] for each in looks[Aim.NAME]]).size == 3


def test_things_look_at_their_likes_in_earlier_images(checkpoint: Path) -> None:
    """The thing of the first image is one of several in the second; others are nowhere else."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    example = SceneSource("refer_grounding", seed=1).example(3)
    encoded = LookingEncoder(encoder)(example)
    (sought,) = {(each.meaning, each.colour) for each in example.things[0]}
    others = {(each.meaning, each.colour) for each in example.things[1]} - {sought}
    looks = [look for look in encoded.looks if look.aim is Aim.MATCH]
    found = [look for look in looks if look.at.tolist() != [0]]
    assert len(looks) - len(found) == len(others) > 0
    (match,) = found
    (answer,) = (look for look in encoded.looks if look.aim is Aim.ANSWER)
    assert set(match.by) & set(answer.at), "what is asked for is what matches"
    assert match.at.max() < min(look.by.min() for look in looks), "an image before"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("task", ["region", "object_tracking", "common_object", "multi_view"])
def test_boxes_look_at_the_number_asked_for(checkpoint: Path, task: str, at_once: bool) -> None:
    """The image's, or the cutting's, from the question or, asked at once, from the line begun."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource(task, seed=4, turns=1 if at_once else 3, at_once=at_once)
    example = source.example(2)
    encoded = LookingEncoder(encoder)(example)
    numbers = [look for look in encoded.looks if look.aim is Aim.NUMBER]
    answers = [look for look in encoded.looks if look.aim is Aim.ANSWER]
    assert [look.by.tolist() for look in numbers] == [look.by.tolist() for look in answers]
    read = [encoder.tokenizer.decode(encoded.tokens[look.at]) for look in numbers]
    if at_once:
        answer = example.conversation.rounds[0].answer
        assert read == re.findall(r"(?:Image|Region)-(\d):", answer)
    else:
        asked = [turn.question for turn in example.conversation.rounds]
        assert read == [re.findall(r"(\d)th", question)[-1] for question in asked]


def clue_of(checkpoint: Path, task: str, number: int) -> tuple[Example, list[Any], list[Any]]:
    """A scene, its images among the tokens, and what its box takes for a clue."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    example = SceneSource(task, seed=3).example(number)
    encoded = LookingEncoder(encoder)(example)
    images = shown_images(encoder, example, encoded)
    return example, images, [look.at.tolist() for look in encoded.looks if look.aim is Aim.CLUE]


@pytest.mark.parametrize("task", ["object_tracking", "multi_view", "correspondence"])
def test_what_is_marked_is_a_clue(checkpoint: Path, task: str) -> None:
    example, images, (clue,) = clue_of(checkpoint, task, 1)
    (marked,) = {each for each in example.things[0] if each.marked}
    assert set(images[0].within(Box(*marked.box))) & set(clue)
    assert set(clue) <= set(images[0].things())


@pytest.mark.parametrize("task", ["refer_grounding", "reasoning"])
def test_what_stands_alone_is_a_clue(checkpoint: Path, task: str) -> None:
    _, images, (clue,) = clue_of(checkpoint, task, 1)
    assert clue == images[0].things().tolist()


def test_the_cutting_asked_for_is_a_clue(checkpoint: Path) -> None:
    example, images, (clue,) = clue_of(checkpoint, "region", 2)
    number = int(re.findall(r"(\d)th", example.conversation.rounds[0].question)[-1])
    assert set(clue) <= set(images[number].places)


def test_what_images_share_is_a_clue(checkpoint: Path) -> None:
    _, images, (clue,) = clue_of(checkpoint, "common_object", 2)
    assert all(set(clue) & set(image.places) for image in images)


def test_a_difference_has_no_clue(checkpoint: Path) -> None:
    assert clue_of(checkpoint, "diff", 1)[2] == []


def test_what_was_taken_away_is_looked_for_in_both_images(checkpoint: Path) -> None:
    """The tokens of the first cannot know yet that it will be gone."""
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource("diff", seed=1)
    drawn = (source.example(number) for number in range(20))
    example = next(each for each in drawn if each.conversation.rounds[0].targets[0].image == 0)
    encoded = LookingEncoder(encoder)(example)
    before, after = shown_images(encoder, example, encoded)
    (look,) = (look for look in encoded.looks if look.aim is Aim.ANSWER)
    box = example.conversation.rounds[0].targets[0].box
    assert look.at.tolist() == [*before.within(box), *after.within(box)]


def test_images_look_at_their_numbers_where_the_chat_numbers_them(
    checkpoint: Path, tmp_path: Path
) -> None:
    numbered = tiny_qwen2_vl.build(tmp_path / "numbered", numbered=True)
    source = SceneSource("object_tracking", seed=4)
    encoder = Encoder(numbered, max_tokens=4096)
    encoded = LookingEncoder(encoder)(source.example(0))
    looks = [look for look in encoded.looks if look.aim is Aim.PICTURE]
    read = [encoder.tokenizer.decode(encoded.tokens[look.at]) for look in looks]
    assert read == ["1", "2", "3", "4", "5", "6"]
    places = np.concatenate([look.by for look in looks])
    assert places.tolist() == np.flatnonzero(encoded.tokens == encoder.image_id).tolist()
    plain = LookingEncoder(Encoder(checkpoint, max_tokens=4096))(source.example(0))
    assert not [look for look in plain.looks if look.aim is Aim.PICTURE]


def test_nothing_is_told_where_nothing_is_known(checkpoint: Path) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    image = Image.new("RGB", (56, 56))
    shown = Round("<image>Where?", "<|box_start|>(1,2),(3,4)<|box_end|>")
    example = Example(Conversation("", "x", ("a",), (shown,)), (image,))
    assert LookingEncoder(encoder)(example).looks == ()


def batch_of(encoder: Encoder, tasks: Sequence[str]) -> dict[str, Any]:
    from migtrain.miniature.pointing import collate

    encode = LookingEncoder(encoder)
    batch = collate(encoder, [encode(SceneSource(task, seed=2).example(1)) for task in tasks])
    batch["pixel_values"] = encoder.pixels.normalise(batch.pop("patches"))
    return batch


def test_the_loss_is_what_heads_look_past(checkpoint: Path) -> None:
    """Held to the attention that transformers itself reports, look by look."""
    from migtrain.miniature.pointing import HEADS, WEIGHTS, Pointing

    encoder = Encoder(checkpoint, max_tokens=4096)
    tasks = ("region", "diff", "group_grounding")
    batch = batch_of(encoder, tasks)
    model = load_model(ModelChoice(checkpoint=str(checkpoint)), checkpoint)
    pointing = Pointing(model.train(), 3.0)
    told = pointing.take(batch)
    attended = model(**batch, output_attentions=True).attentions
    loss = pointing.loss(told, None)
    missed = []
    for row, task in enumerate(tasks):
        for look in LookingEncoder(encoder)(SceneSource(task, seed=2).example(1)).looks:
            layer, head = HEADS[look.aim]
            heads = attended[layer % len(attended)][row]
            shares = heads[head % len(heads)][look.by][:, look.at].sum(1)
            missed.append(-WEIGHTS.get(look.aim, 1.0) * shares.log().mean())
    labelled = int((batch["labels"] >= 0).sum())
    torch.testing.assert_close(loss, 3.0 * torch.stack(missed).sum() / labelled)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    smoke = find_recipe("mini-smoke")
    return changed(
        smoke,
        pointing=8.0,
        phases=(Stretch(steps=8, shares={"single": 1, "refer_grounding": 1}),),
        save_every=2,
        log_every=1,
        watch=None,
    )


@pytest.fixture(scope="module")
def trained(toy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pointing") / "whole"
    assert train(toy, out).finished
    return out


def test_heads_learn_where_to_look(trained: Path) -> None:
    from migtrain.miniature.pointing import Pointing

    missed = []
    tasks = ("single_grounding", "refer_grounding") * 2
    for folder in (trained / "start", trained / MODEL):
        batch = batch_of(Encoder(folder, max_tokens=4096), tasks)
        model = load_model(ModelChoice(checkpoint=str(folder)), folder)
        pointing = Pointing(model.train(), 1.0)
        told = pointing.take(batch)
        model(**batch)
        missed.append(pointing.loss(told, None).item())
    assert missed[1] < missed[0]


def test_smaller_batches_at_once_are_told_the_same(
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
