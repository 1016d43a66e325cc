"""A dry run tells parameters, memory, steps and data, and what cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from command_line import migtrain_command as migtrain
from data_files import write_images

from migbench.errors import DataError
from migtrain.miniature.dry_run import (
    count_parameters,
    dry_run,
    empty_model,
    estimate_memory,
    model_config,
)
from migtrain.miniature.models import freeze
from migtrain.miniature.recipe import Batch, Machine, ModelChoice, Recipe, find_recipe

pytest.importorskip("torch")

changed = msgspec.structs.replace

STAGE_1 = find_recipe("qwen2-vl-7b-stage1")


@pytest.fixture(scope="module")
def seven_billion() -> object:
    model = empty_model(model_config(STAGE_1.model))
    freeze(model, STAGE_1.model)
    return model


def test_the_7b_shape_has_the_published_size(seven_billion: object) -> None:
    parameters = count_parameters(seven_billion)
    assert parameters.total == 8_291_375_616
    assert parameters.vision + parameters.merger == 675_759_104
    assert parameters.trained == parameters.language


def test_full_sharding_makes_7b_fit_and_nothing_else_does(seven_billion: object) -> None:
    parameters = count_parameters(seven_billion)

    def needed(recipe: Recipe) -> float:
        return estimate_memory(recipe, seven_billion, parameters).total / 2**30

    assert needed(STAGE_1) < 72
    alone = changed(STAGE_1, trainer={"gradient_checkpointing": True})
    # 16 bytes a trained parameter, 4 a frozen one, before anything is computed.
    assert needed(alone) > (16 * parameters.trained) / 2**30
    kept = changed(STAGE_1, trainer={"fsdp": True})
    assert needed(kept) > needed(STAGE_1)
    zero3 = {"deepspeed": {"zero_optimization": {"stage": 3}}, "gradient_checkpointing": True}
    assert needed(changed(STAGE_1, trainer=zero3)) == needed(STAGE_1)
    zero1 = {"deepspeed": {"zero_optimization": {"stage": 1}}, "gradient_checkpointing": True}
    assert needed(changed(STAGE_1, trainer=zero1)) == needed(alone)


def test_a_weight_costs_sixteen_bytes(seven_billion: object) -> None:
    memory = estimate_memory(STAGE_1, seven_billion, count_parameters(seven_billion))
    assert memory.optimiser == 2 * memory.gradients
    assert memory.gradients == 4 * 7_615_616_512 // 8
    assert memory.weights == 4 * 8_291_375_616 // 8


def test_a_miniature_can_work_where_it_is() -> None:
    found = dry_run(find_recipe("mini-seeing"), None)
    assert found.problems == ()
    assert found.parameters.total < 7.5e6  # 15 MB in 16 bits
    assert found.examples == found.steps * 20
    assert found.lengths is not None
    assert 50 < found.lengths.mean < found.lengths.longest < find_recipe("mini-seeing").max_tokens


def test_what_cannot_work_is_said() -> None:
    recipe = changed(
        find_recipe("mini-smoke"),
        machine=Machine(gpus=3, gpu_memory_gib=0.01),
        batch=Batch(size=4, per_device=4),
    )
    problems = dry_run(recipe, None).problems
    assert len(problems) == 2
    assert "cannot be shared by 3 GPUs" in problems[0]
    assert "GiB on each GPU" in problems[1]


def test_the_command_without_data_names_every_source_and_ends_with_2() -> None:
    done = migtrain("miniature", "--config", "qwen2-vl-7b-stage1", "--dry-run")
    assert done.status == 2
    assert "8,291,375,616 parameters" in done.out
    assert "20,833 of 48 examples" in done.out
    for source in STAGE_1.sources:
        assert f"source {source}: " in done.err


def test_the_command_counts_the_data_that_are_there(tmp_path: Path) -> None:
    names = [f"MGrounding-630k/Common_Object/{number}.jpg" for number in range(2)]
    write_images(tmp_path, names, (300, 200))

    def record(kind: str, image: str) -> dict[str, object]:
        turns = [("human", "<image>Where?"), ("gpt", "<|box_start|>(1,2),(3,4)<|box_end|>")]
        return {
            "images": [image],
            "conversations": [{"from": who, "value": text} for who, text in turns],
            "type": kind,
        }

    for folder in ("llava-onevision", "refcoco", "groma-instruct", "m4-instruct"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "all.json").write_text(json.dumps([record("", f"./{names[0]}")]))
    content = [record("common_train", name) for name in names]
    content += [record("free_form_grounding", names[0]), record("gg_train", "./gone.jpg")]
    (tmp_path / "MGrounding-630k" / "MGrounding-630k.json").write_text(json.dumps(content))
    done = migtrain("miniature", "--config", "qwen2-vl-7b-stage1", "--data", tmp_path, "--dry-run")
    assert done.status == 0, done.err
    assert "m-grounding: 2 found, 539,992 wanted" in done.out
    assert "left out: an image is missing 1" in done.out
    assert "record 3: an image is missing: gone.jpg" in done.out
    assert "s-grounding: 2 found" in done.out
    assert done.out.rstrip().endswith("It can work")


def test_a_hub_checkpoint_needs_a_shape() -> None:
    with pytest.raises(DataError, match="needs a 'shape'"):
        model_config(ModelChoice(checkpoint="someone/something"))
