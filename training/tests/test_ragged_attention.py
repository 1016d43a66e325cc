"""Attending to all images at once computes what attending one by one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migtrain.miniature.encoding import Encoder
from migtrain.miniature.models import load_model
from migtrain.miniature.recipe import ModelChoice
from migtrain.miniature.scenes import SceneSource

torch = pytest.importorskip("torch")
EXAMPLES = ("region", "object_tracking")
IMAGES = 10


def loss_and_gradients(checkpoint: Path, attention: str | None) -> tuple[float, list[Any]]:
    encoder = Encoder(checkpoint, max_tokens=4096)
    examples = [SceneSource(task, seed=2).example(1) for task in EXAMPLES]
    batch = encoder.batch([encoder.encode(each.conversation, each.images) for each in examples])
    batch["pixel_values"] = encoder.pixels.normalise(batch.pop("patches"))
    assert len(batch["image_grid_thw"]) == IMAGES
    assert len({tuple(grid) for grid in batch["image_grid_thw"].tolist()}) > 1
    model = load_model(ModelChoice(checkpoint=str(checkpoint), attention=attention), checkpoint)
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), [parameter.grad for parameter in model.parameters()]


def test_loss_and_gradients_are_the_same(checkpoint: Path) -> None:
    loss, gradients = loss_and_gradients(checkpoint, None)
    ragged_loss, ragged_gradients = loss_and_gradients(checkpoint, "ragged")
    assert ragged_loss == pytest.approx(loss, rel=1e-5)
    for ours, theirs in zip(ragged_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_vision_tower_calls_attention_once_a_layer(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = torch.nn.functional.scaled_dot_product_attention

    def counting(query: Any, *others: Any, **named: Any) -> Any:
        calls.append(query.shape)
        return original(query, *others, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counting)
    loss_and_gradients(checkpoint, "ragged")
    of_the_tower = [shape for shape in calls if shape[0] == IMAGES]
    assert len(of_the_tower) == 2  # two layers, each all images at once
