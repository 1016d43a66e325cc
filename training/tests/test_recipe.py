"""The authors' recipe: its values, its data, and what a training needs."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
import yaml
from command_line import migtrain_command as migtrain
from data_files import write_images
from hypothesis import given
from hypothesis import strategies as st
from records import BAD, FOLDER, sound_record, write_record_images

import migbench.reporting.published
import migtrain.cli as migtrain_cli
from migbench.errors import DataError, UsageError
from migtrain.recipe.estimate import estimate_training
from migtrain.recipe.mixtures import DataMixture, SourceSpec, find_mixture
from migtrain.recipe.prepare import Prepared, PreparedSource, read_prepared
from migtrain.recipe.run import started
from migtrain.recipe.stages import TrainingPlace, complete_stage, count_steps, read_stage

# The authors' values


def test_the_stages_have_the_authors_values() -> None:
    first, second = read_stage("1"), read_stage("2")
    shared = {
        "stage": "sft",
        "finetuning_type": "full",
        "template": "qwen2_vl",
        "image_max_pixels": 262144,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "num_train_epochs": 1.0,
        "lr_scheduler_type": "cosine",
        "bf16": True,
    }
    own = (
        {"freeze_vision_tower": True, "cutoff_len": 6000, "max_samples": 1_100_000,
         "learning_rate": 5e-6, "warmup_ratio": 0.015},
        {"cutoff_len": 8192, "max_samples": 210_000, "learning_rate": 4e-6, "warmup_ratio": 0.05},
    )  # fmt: skip
    for stage, values in zip((first, second), own, strict=True):
        expected = shared | values
        assert {key: stage[key] for key in expected} == expected
        zero3 = json.loads(Path(stage["deepspeed"]).read_bytes())
        assert zero3["zero_optimization"]["stage"] == 3
    assert "freeze_vision_tower" not in second, "left to LLaMA-Factory's default, which freezes"


def test_the_mixtures_have_the_shares_of_table_12() -> None:
    text = (Path(migbench.reporting.published.__file__).parent / "table12.yaml").read_text("utf-8")
    rows = yaml.safe_load(text)["rows"]
    for stage in ("1", "2"):
        printed = [r["figures"]["ratio"] for r in rows if r["section"] == f"Stage-{stage}"]
        ours = [each.share for each in find_mixture(f"stage{stage}").sources.values()]
        assert ours == printed
        assert sum(ours) == 100


def test_steps_are_the_papers_at_its_batch_of_48() -> None:
    first, second = (find_mixture(f"stage{number}").examples or 0 for number in (1, 2))
    steps = [
        count_steps(read_stage(stage), examples, gpus=8)
        for stage, examples in (("1", first), ("2", second))
    ]
    assert steps == [20_834, 4_167]
    assert round(sum(steps), -3) == 25_000


@given(
    shares=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    records=st.lists(st.integers(1, 10_000), min_size=5, max_size=5),
    examples=st.none() | st.integers(1, 100_000),
)
def test_samples_keep_the_shares(
    shares: list[int], records: list[int], examples: int | None
) -> None:
    sources = {str(n): SourceSpec(share, ("a.json",)) for n, share in enumerate(shares)}
    counts = {str(n): records[n] for n in range(len(shares))}
    samples = DataMixture(sources).samples(counts, examples)
    total = sum(samples.values())
    if examples is not None:
        assert total == examples
        for name, source in sources.items():
            assert abs(samples[name] - examples * source.share / sum(shares)) < 1
    else:
        assert all(samples[name] <= counts[name] for name in counts), "nothing is repeated"


# Preparing


@pytest.fixture(scope="module")
def general_and_grounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of every source of Table 12, in its folders."""
    root = write_record_images(tmp_path_factory.mktemp("sources"))
    for folder in ("llava-onevision", "refcoco", "groma-instruct", "m4-instruct"):
        write_images(root, [f"{folder}/1.jpg"])
        turns = [("human", "<image>What?"), ("gpt", "That.")]
        content = {
            "images": [f"{folder}/1.jpg"],
            "conversations": [{"from": who, "value": text} for who, text in turns],
        }
        (root / folder / "all.json").write_text(json.dumps([content] * 3))
    sound = [sound_record(number) for number in range(70)]
    (root / FOLDER / f"{FOLDER}.json").write_text(json.dumps(sound))
    return root


def test_data_are_prepared_in_the_shares_of_table_12(
    general_and_grounding: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = migtrain("prepare", general_and_grounding, "--stage", 2, "--out", out)
    assert done.status == 0, done.err
    info = json.loads((out / "dataset_info.json").read_bytes())
    samples = {name: each["num_samples"] for name, each in info.items()}
    assert samples == {
        "s-understanding": 18_000,
        "s-grounding": 14_000,
        "m-understanding": 16_000,
        "m-grounding-1": 54_000,
        "m-grounding-2": 98_000,
    }
    assert read_prepared(out).sources["s-grounding"] == PreparedSource(records=6, samples=14_000)
    lines = [json.loads(line) for line in (out / "m-grounding-2.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["free_form_grounding"] * 10
    assert lines[0]["conversations"] == sound_record(2)["conversations"]
    assert all((general_and_grounding / image).is_file() for image in lines[0]["images"])
    assert "next: migtrain run 2" in done.out


def test_records_of_no_source_are_said(general_and_grounding: Path, tmp_path: Path) -> None:
    done = migtrain("prepare", general_and_grounding, "--stage", 1, "--out", tmp_path / "out")
    assert "free_form_grounding: 10 records in no source of the mixture" in done.out


def test_a_source_without_files_is_named(general_and_grounding: Path, tmp_path: Path) -> None:
    done = migtrain("prepare", tmp_path, "--stage", 1, "--out", tmp_path / "out")
    assert done.status == 2
    assert "no file llava-onevision/*.json" in done.err


MIXTURE = "sources: {all: {share: 1, files: [records.json]}}\n"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_not_prepared(
    general_and_grounding: Path, tmp_path: Path, name: str
) -> None:
    spoil, kind = BAD[name]
    content = [sound_record(0), spoil(sound_record(3)), sound_record(1)]
    path = general_and_grounding / "records.json"
    path.write_text(json.dumps(content))
    (tmp_path / "mixture.yaml").write_text(MIXTURE)
    command = ("prepare", general_and_grounding, "--stage", 1, "--mixture",
               tmp_path / "mixture.yaml", "--out", tmp_path / "out")  # fmt: skip
    refused = migtrain(*command)
    assert refused.status == 2
    assert "record 1" in refused.err
    assert kind in refused.err
    assert not (tmp_path / "out").exists()
    assert migtrain(*command, "--leave-out-invalid").status == 0
    lines = (tmp_path / "out" / "all.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [content[0]["id"], content[2]["id"]]


# A whole configuration


def place(tmp_path: Path, **changes: Any) -> TrainingPlace:
    described = {
        "images": "/images",
        "cutoff_len": 6000,
        "image_max_pixels": 262144,
        "longest": 900,
        "left_out": {},
        "sources": {"a": PreparedSource(5, 5), "b": PreparedSource(7, 9)},
    } | changes
    return TrainingPlace("start", tmp_path / "data", Prepared(**described), tmp_path / "out")


def test_a_stage_is_completed_and_nothing_else_of_it_changed(tmp_path: Path) -> None:
    stage = read_stage("1")
    config = complete_stage(stage, place(tmp_path))
    assert config["dataset"] == "a,b"
    assert config["media_dir"] == "/images"
    assert config["output_dir"] == str(tmp_path / "out" / "model")
    assert {key: config[key] for key in stage} == stage
    on_cpu = complete_stage(stage, place(tmp_path), ["learning_rate=5e-4", "max_steps=20"], True)
    changed = {key for key in stage if on_cpu.get(key) != stage[key]}
    assert changed == {"deepspeed", "learning_rate", "preprocessing_num_workers"}
    assert (on_cpu["learning_rate"], on_cpu["max_steps"], on_cpu["use_cpu"]) == (5e-4, 20, True)


def test_data_checked_for_other_lengths_are_not_trained_on(tmp_path: Path) -> None:
    stage = read_stage("1")
    with pytest.raises(UsageError, match="longest record has 900 tokens"):
        complete_stage(stage, place(tmp_path), ["cutoff_len=899"])
    complete_stage(stage, place(tmp_path), ["cutoff_len=900"])
    with pytest.raises(UsageError, match="image_max_pixels 262144"):
        complete_stage(stage, place(tmp_path), ["image_max_pixels=589824"])
    with pytest.raises(UsageError, match="--set nonsense"):
        complete_stage(stage, place(tmp_path), ["nonsense"])


# What it needs


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return read_stage("1") | {"model_name_or_path": "Qwen/Qwen2-VL-7B"}


def test_the_7b_model_has_its_published_size_and_its_language_model_is_trained(
    config: dict[str, Any],
) -> None:
    found = estimate_training(config, 1_000_000, gpus=8)
    assert found.parameters.total == 8_291_375_616
    assert found.parameters.trained == found.parameters.language == 7_615_616_512
    thawed = config | {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
    assert estimate_training(thawed, 1, 8).parameters.trained == found.parameters.total


def test_zero3_makes_7b_fit_80_gib_and_nothing_else_does(config: dict[str, Any]) -> None:
    sharded, alone = (
        estimate_training(each, 1_000_000, gpus=8).memory
        for each in (config, {key: config[key] for key in config if key != "deepspeed"})
    )
    gib = 1 << 30
    assert sharded.total < 72 * gib < alone.total
    assert alone.optimizer == 12 * 7_615_616_512
    assert alone.weights == 2 * 8_291_375_616
    assert sharded.optimizer == alone.optimizer // 8
    assert (sharded.gathered, alone.gathered) == (2_000_000_000, 0)
    assert sharded.unsharded == alone.unsharded
    assert alone.unsharded == pytest.approx(2 * 4 * 8_291_375_616, rel=1e-4), "accelerate's figure"


def test_a_checkpoint_that_is_not_here_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="someone/something: has no configuration here"):
        estimate_training(config | {"model_name_or_path": "someone/something"}, 1, 1)


def test_the_command_says_what_it_needs(general_and_grounding: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert migtrain("prepare", general_and_grounding, "--stage", 1, "--out", out).status == 0
    command = ("run", 1, "--data", out, "--model", "Qwen/Qwen2-VL-7B", "--out", tmp_path / "out")
    done = migtrain(*command, "--dry-run")
    assert done.status == 0, done.err
    assert "7,615,616,512 of them trained" in done.out
    assert "Steps: 20,834 for 1,000,000 examples" in done.out
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_it_says_so(
    general_and_grounding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"
    assert migtrain("prepare", general_and_grounding, "--stage", 1, "--out", out).status == 0
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = migtrain("run", 1, "--data", out, "--model", "x", "--out", tmp_path / "out")
    assert (done.status, "torch sees no GPU" in done.err) == (2, True)


def test_a_stopped_training_ends_with_all_of_its_processes(tmp_path: Path) -> None:
    """Also those that it has started: they would go on, and hold the GPUs."""
    command = ["sh", "-c", "sleep 100 & echo $!; wait"]
    children = []
    with suppress(KeyboardInterrupt), started(command, tmp_path, on_cpu=True) as process:
        assert process.stdout is not None
        children.append(psutil.Process(int(process.stdout.readline())))
        raise KeyboardInterrupt
    (child,) = children
    assert psutil.wait_procs([child], timeout=1)[0] or child.status() == psutil.STATUS_ZOMBIE


# Ablations


def test_the_settings_of_tables_6_and_9_are_written_and_can_be_prepared(
    general_and_grounding: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ablations"
    done = migtrain("ablate", out)
    assert done.status == 0, done.err
    mixtures = {path.stem: find_mixture(str(path)) for path in out.glob("*.yaml")}
    assert len(mixtures) == 6 + 7
    assert mixtures["full-data.stage1"] == find_mixture("stage1")
    assert mixtures["full-data.stage2"] == find_mixture("stage2")
    without = mixtures["without-grounding.stage2"]
    assert without.sources.keys() == {"s-understanding", "s-grounding", "m-understanding"}
    assert without.examples == 48_000, "9 + 7 + 8 of a hundred of 200,000"
    assert "m-understanding" not in mixtures["without-general.stage1"].sources
    assert mixtures["without-general.stage1"].examples == 840_000
    separate = [each for name, each in mixtures.items() if name.startswith("separate-")]
    kinds = [kind for each in separate for kind in each.sources["m-grounding"].kinds]
    assert sorted(kinds) == sorted(mixtures["multi-task.stage1"].sources["m-grounding"].kinds)
    assert len(kinds) == 6
    data = tmp_path / "data"
    mixture = out / "separate-diff.stage1.yaml"
    prepared = migtrain(
        "prepare", general_and_grounding, "--stage", 1, "--mixture", mixture, "--out", data
    )
    assert prepared.status == 0, prepared.err
    lines = (data / "m-grounding.jsonl").read_text().splitlines()
    assert {json.loads(line)["type"] for line in lines} == {"diff"}


def test_the_ablations_script_calls_commands_that_exist(tmp_path: Path) -> None:
    """Each command with options that it has, and each checkpoint made before it is used."""
    assert migtrain("ablate", tmp_path).status == 0
    script = (tmp_path / "commands.sh").read_text("utf-8").split("\n\n", 1)[1]
    lines = [line for line in script.splitlines() if line and not line.startswith("#")]
    made = {"$BASE"}
    for program, name, *arguments in map(shlex.split, lines):
        if (program, name) == ("migtrain", "run"):
            assert arguments[arguments.index("--model") + 1] in made
            made.add(arguments[arguments.index("--out") + 1] + "/model")
        if (program, name) == ("migtrain", "merge"):
            assert set(arguments[: arguments.index("--out")]) <= made
            made.add("merged")
        if program == "migtrain":
            command = migtrain_cli.cli.get_command(click.Context(migtrain_cli.cli), name)
            assert command is not None
            known = {option for each in command.params for option in each.opts}
            assert {each for each in arguments if each.startswith("--")} <= known
    assert len([line for line in lines if line.startswith("migtrain run")]) == 6 + 7
    assert migtrain("ablate", tmp_path).status == 2, "nothing is written over"


def test_a_miniature_ablation_needs_data(tmp_path: Path) -> None:
    done = migtrain("ablate", tmp_path / "out", "--miniature", tmp_path)
    assert (done.status, "--miniature and --data go together" in done.err) == (2, True)
