"""Dense supervision: the labels of cells, the heads' losses, and that it goes on exactly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interrupted import interrupt, losses

from migbench.mini import plan
from migbench.mini.drawing import draw_pages
from migtrain.miniature.cell_labels import (
    CLASS_NAMES,
    LabelledObject,
    draw_with_objects,
    label_cells,
)
from migtrain.miniature.recipe import Recipe, ScheduleStage, find_recipe
from migtrain.miniature.train import METRICS, MODEL, train
from migtrain.miniature.training_log import read_metrics

TOY = str(Path(__file__).with_name("toy.yaml"))

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch")

changed = msgspec.structs.replace


def test_a_cell_is_labelled_with_the_object_that_covers_it() -> None:
    left = LabelledObject(class_index=3, colour=1, box=(0.0, 0.0, 0.5, 1.0), marked=True)
    labels = label_cells([left], rows=2, columns=4)
    assert labels.classes.tolist() == [3, 3, -1, -1, 3, 3, -1, -1]
    assert labels.colours.tolist() == [1, 1, -1, -1, 1, 1, -1, -1]
    assert labels.marked.tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert labels.boxes[0].tolist() == [0.0, 0.0, 0.5, 1.0]
    assert labels.boxes[7].tolist() == [0.75, 0.5, 1.0, 1.0], "the background knows its own place"


def test_an_object_smaller_than_a_cell_owns_it() -> None:
    small = LabelledObject(class_index=0, colour=0, box=(0.1, 0.1, 0.2, 0.2), marked=False)
    assert label_cells([small], rows=2, columns=2).classes.tolist() == [0, -1, -1, -1]


def test_an_empty_image_is_background() -> None:
    assert label_cells([], rows=3, columns=5).classes.tolist() == [-1] * 15


@pytest.mark.parametrize("task", ["object_tracking", "region", "correspondence", "group_grounding"])
@pytest.mark.parametrize("number", range(3))
def test_every_target_is_an_object_of_its_image(task: str, number: int) -> None:
    """What is asked for is labelled, and in a region what it was cut around."""
    planned = plan(task, number, split="train")
    images, objects = draw_with_objects(planned)
    _, extents = draw_pages(planned)
    assert len(images) == len(objects) == len(planned.pages)
    for ask in planned.asks:
        if isinstance(ask.target, tuple):
            width, height = images[ask.page].size
            boxes = [extents[ask.page][item] for item in ask.target]
            whole = boxes[0]
            for box in boxes[1:]:
                whole = whole.joined(box)
            edges = np.array([whole.left, whole.top, whole.right, whole.bottom], float)
            edges /= [width, height, width, height]
            assert any(np.allclose(edges, object_.box, atol=1e-9) for object_ in objects[ask.page])
    if task == "region":
        assert all(seen for seen in objects[1:]), "a cutting shows what it was cut around"


def test_the_red_box_marks_one_object_of_the_first_image() -> None:
    _, objects = draw_with_objects(plan("correspondence", 1, split="train"))
    assert [sum(object_.marked for object_ in seen) for seen in objects] == [1, 0]
    jobs = {CLASS_NAMES[object_.class_index] for seen in objects for object_ in seen}
    assert jobs <= {"handle", "lid", "wheels", "body"}


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_shares_of_bins_say_where_an_edge_is(edges: list[float]) -> None:
    from migtrain.miniature.dense_supervision import BINS, edge_shares

    shares = edge_shares(torch.tensor([edges], dtype=torch.float64))
    assert shares.sum(-1).allclose(torch.ones(1, 4, dtype=torch.float64))
    place = (shares * torch.arange(BINS + 1)).sum(-1) / BINS
    assert place[0].tolist() == pytest.approx(edges, abs=1e-9)


@pytest.fixture(scope="module")
def toy() -> Recipe:
    """Four steps of a vision encoder of the toy's size, saved after two."""
    recipe = find_recipe(TOY)
    return changed(
        recipe,
        objective="dense-supervision",
        stages=(ScheduleStage(steps=4, shares={"single": 1, "refer_grounding": 1}),),
        optimiser=changed(recipe.optimiser, name="muon"),
        save_every=2,
        validation=None,
    )


def test_it_is_resumed_exactly_and_leaves_a_checkpoint(toy: Recipe, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(toy, whole).finished

    interrupt(toy, parts, step=3)
    assert train(toy, parts).resumed_from == 2
    assert losses(parts) == losses(whole)
    weights = [(each / MODEL / "model.safetensors").read_bytes() for each in (whole, parts)]
    assert weights[0] == weights[1]
    lines = read_metrics(whole / METRICS)
    (read,) = (line["probe_accuracy"] for line in lines if "probe_accuracy" in line)
    assert set(read) == {"kinds", "colours"}
    _require_qwen2_vl(whole / MODEL)
    answers = changed(
        find_recipe(TOY),
        model=changed(toy.model, sizes=None, checkpoint=str(whole / MODEL), frozen=("vision",)),
        validation=None,
    ).with_steps(2)
    assert train(answers, tmp_path / "answers").finished, (
        "it is where fine-tuning on answers begins"
    )


def _require_qwen2_vl(folder: Path) -> None:
    """The heads are gone, and tokens have the size that a language model can work with."""
    from safetensors import safe_open
    from transformers import Qwen2VLForConditionalGeneration

    from migtrain.miniature.dense_supervision import TOKEN_SIZE

    with safe_open(folder / "model.safetensors", "np") as stored:
        assert not any("heads" in name for name in stored.keys())  # noqa: SIM118
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    images, _ = draw_with_objects(plan("refer_grounding", 1, split="train"))
    from migtrain.miniature.encoding import Encoder

    pixels = Encoder(folder, max_tokens=512).pixels
    prepared = [pixels.patches(image) for image in images]
    values = pixels.normalise(torch.from_numpy(np.concatenate([each for each, _ in prepared])))
    grids = torch.tensor([(1, *grid) for _, grid in prepared])
    with torch.no_grad():
        tokens = model.model.visual(values, grid_thw=grids).pooler_output
    assert 0.5 * TOKEN_SIZE < float(tokens.square().mean().sqrt()) < 2 * TOKEN_SIZE


def test_probe_accuracy_is_that_of_test_scenes(checkpoint: Path) -> None:
    """Heads that always say the same are right where it is so."""
    from migtrain.miniature.dense_supervision import (
        PROBED_SCENES,
        DenselySupervisedEncoder,
        probe_accuracy,
    )
    from migtrain.miniature.encoding import Encoder
    from migtrain.miniature.models import load_model
    from migtrain.miniature.recipe import ModelChoice

    model = load_model(ModelChoice(checkpoint=str(checkpoint)), checkpoint)
    learner = DenselySupervisedEncoder(model.model.visual, model.config.text_config.hidden_size)
    with torch.no_grad():
        for head, said in (("class_index", 1 + CLASS_NAMES.index("star")), ("colour", 2)):
            learner.heads[head].weight.zero_()
            learner.heads[head].bias.zero_()[said] = 1.0
    encoder = Encoder(checkpoint, max_tokens=512)
    read = probe_accuracy(learner, encoder)
    assert learner.training
    kinds, colours = [], []
    for number in range(PROBED_SCENES):
        images, objects = draw_with_objects(plan("group_grounding", number, split="test"))
        for image, seen in zip(images, objects, strict=True):
            grid = encoder.pixels.patches(image)[1]
            cells = label_cells(seen, *encoder.pixels.cells(grid))
            kinds += cells.classes[cells.classes >= 0].tolist()
            colours += cells.colours[cells.classes >= 0].tolist()
    stars = kinds.count(CLASS_NAMES.index("star")) / len(kinds)
    assert read["kinds"] == pytest.approx(100 * stars, rel=1e-5)
    assert read["colours"] == pytest.approx(100 * colours.count(2) / len(colours), rel=1e-5)


class Tower(torch.nn.Module):
    """Its last layer is all that `whiten` knows of a vision tower."""

    def __init__(self) -> None:
        super().__init__()
        self.merger = torch.nn.Module()
        self.merger.mlp = torch.nn.Sequential(torch.nn.Linear(12, 12))

    def forward(self, pixel_values: Tensor, grid_thw: Tensor) -> SimpleNamespace:
        return SimpleNamespace(pooler_output=self.merger.mlp(pixel_values))


def test_whitened_tokens_vary_alike_in_all_directions() -> None:
    """Sixteen times wider in one direction than in another before; nothing is lost."""
    from migtrain.miniature.dense_supervision import TOKEN_SIZE, whiten

    random = torch.Generator().manual_seed(0)
    values = torch.randn(600, 12, generator=random) * torch.logspace(1, -0.2, 12) + 3.0
    tower, grids = Tower(), torch.tensor([[1, 20, 30]])
    with torch.no_grad():
        torch.nn.init.eye_(tower.merger.mlp[0].weight)
        whiten(tower, values, grids)
        tokens = tower(values, grids).pooler_output
    spread = torch.linalg.eigvalsh(torch.cov(tokens.T))
    assert spread.max() < 1.4 * spread.min()
    assert tokens.mean(0).abs().max() < 1e-4
    assert tokens.square().mean().sqrt().item() == pytest.approx(TOKEN_SIZE, rel=1e-4)
    back = torch.linalg.lstsq(torch.cat([tokens, torch.ones(600, 1)], 1), values).solution
    torch.testing.assert_close(
        torch.cat([tokens, torch.ones(600, 1)], 1) @ back, values, atol=0.01, rtol=0.01
    )
