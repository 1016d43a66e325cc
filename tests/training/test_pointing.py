"""Learning to look: what is told of an answer's boxes, and that a head learns to heed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from migbench.boxes import Box
from migbench.training.answers import write_box
from migbench.training.conversations import Conversation, Exchange
from migbench.training.encoding import Encoder, covered_cells
from migbench.training.metrics import METRICS, read_metrics
from migbench.training.models import load_model
from migbench.training.recipe import ModelChoice, Recipe, Stretch, find_recipe
from migbench.training.sources import SceneSource
from migbench.training.train import MODEL, train

torch = pytest.importorskip("torch")

changed = msgspec.structs.replace


def test_a_box_covers_the_cells_that_lie_in_it() -> None:
    assert covered_cells(Box(0.25, 0.0, 0.75, 0.5), 2, 4).tolist() == [1, 2]
    assert covered_cells(Box(0.0, 0.0, 1.0, 1.0), 2, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert covered_cells(Box(0.3, 0.6, 0.32, 0.7), 2, 2).tolist() == [2], "smaller than a cell"


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("task", ["region", "object_tracking", "common_object"])
def test_boxes_point_at_what_they_bound(checkpoint: Path, task: str, at_once: bool) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    source = SceneSource(task, seed=4, turns=1 if at_once else 3, at_once=at_once)
    example = source.example(2)
    encoded = encoder.encode(example.conversation, example.images)
    targets = [each for turn in example.conversation.exchanges for each in turn.targets]
    assert len(encoded.pointers) == len(targets) > 0
    images = np.unique(encoded.positions[0][encoded.tokens == encoder.image_id])
    for pointer, target in zip(encoded.pointers, targets, strict=True):
        written = encoder.tokenizer.decode(encoded.tokens[pointer.start :])
        assert written.startswith(write_box(target.box))
        assert target.image is not None
        grid = encoded.grids[target.image]
        rows, columns = grid.rows // 2, grid.columns // 2
        time, down, right = encoded.positions[:, pointer.cells]
        assert set(time) == {images[target.image]}
        cells = (down - time) * columns + right - time
        assert cells.tolist() == covered_cells(target.box, rows, columns).tolist()


def test_nothing_is_told_where_targets_are_unknown(checkpoint: Path) -> None:
    encoder = Encoder(checkpoint, max_tokens=4096)
    exchange = Exchange("Where?", "<|box_start|>(1,2),(3,4)<|box_end|>")
    assert encoder.encode(Conversation("", "x", (), (exchange,)), []).pointers == ()


def batch_of(encoder: Encoder, tasks: tuple[str, ...] = ("region", "diff")) -> dict[str, Any]:
    from migbench.training.pointing import collate

    examples = [SceneSource(task, seed=2).example(1) for task in tasks]
    batch = collate(encoder, [encoder.encode(each.conversation, each.images) for each in examples])
    batch["pixel_values"] = encoder.pixels.normalise(batch.pop("patches"))
    return batch


def test_the_loss_is_what_a_head_looks_past(checkpoint: Path) -> None:
    """Held to the attention that transformers itself reports, box by box."""
    from migbench.training.pointing import AT, FROM, HEAD, LAYER, Pointing

    encoder = Encoder(checkpoint, max_tokens=4096)
    batch = batch_of(encoder)
    model = load_model(ModelChoice(checkpoint=str(checkpoint)), checkpoint)
    pointing = Pointing(model.train(), 3.0)
    told = pointing.take(batch)
    attended = model(**batch, output_attentions=True).attentions[LAYER][:, HEAD]
    loss = pointing.loss(told, None)
    missed = []
    for number, shown in enumerate(told[AT]):
        places = told[FROM][told[FROM][:, 2] == number]
        shares = [attended[row, place, shown > 0].sum() for row, place, _ in places]
        missed.append(-torch.stack(shares).log().mean())
    labelled = int((batch["labels"] >= 0).sum())
    expected = 3.0 * torch.stack(missed).sum() / labelled
    torch.testing.assert_close(loss, expected)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    smoke = find_recipe("mini-smoke")
    return changed(
        smoke,
        pointing=8.0,
        phases=(Stretch(steps=8, shares={"single": 1}),),
        save_every=2,
        log_every=1,
        watch=None,
    )


@pytest.fixture(scope="module")
def trained(toy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pointing") / "whole"
    assert train(toy, out).finished
    return out


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / METRICS)]


def test_a_head_learns_where_to_look(trained: Path) -> None:
    from migbench.training.pointing import Pointing

    missed = []
    for folder in (trained / "start", trained / MODEL):
        batch = batch_of(Encoder(folder, max_tokens=4096), ("single_grounding",) * 4)
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
    def die(line: dict[str, Any]) -> None:
        if line["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy, tmp_path, note=die)
    assert train(toy, tmp_path).resumed_from == 4
    assert losses(tmp_path) == losses(trained)
