"""Tables 2 to 4 end to end: real task files, rows as published, a model that looks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import general_data
import general_model
import pytest
from datasets import Dataset
from datasets import Image as Picture
from lmms_eval import evaluator
from lmms_eval.models import get_model
from lmms_eval.tasks import TaskManager
from PIL import Image
from support.command_line import Done, migbench

from migbench.integrations.lmms_eval.suites.grounding import refcoco_documents
from migbench.integrations.lmms_eval.suites.high_resolution import vstar_documents
from migbench.integrations.lmms_eval.suites.suites import SUITES
from migbench.tasks import tasks_folder

General = Callable[..., Done]
EYES = f"{general_model.__file__}:Eyes"


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return general_data.build(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture
def general(benchmarks: Path, tmp_path: Path) -> General:
    """``migbench general`` with a model that looks; ``lies`` and ``fails`` are its flaws."""

    def run(
        suite: str,
        *more: Any,
        writes: str = "qwen2-vl",
        read_as: str = "",
        lies: Mapping[str, str] | None = None,
        fails: str = "",
        out: str = "out",
    ) -> Done:
        (tmp_path / "lies.json").write_text(json.dumps(lies or {}))
        return migbench(
            *("general", "--model", "eyes", "--adapter", EYES, "--suite", suite),
            *("--dialect", read_as or writes, "--model-arg", f"writes={writes}"),
            *("--model-arg", f"lies={tmp_path / 'lies.json'}"),
            *("--model-arg", f"diary={tmp_path / 'diary.jsonl'}"),
            *(("--model-arg", f"fails={fails}") if fails else ()),
            *("--data", benchmarks, "--out", tmp_path / out, "--json", tmp_path / "run.json"),
            *more,
        )

    return run


def figures(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "run.json").read_text())["benchmarks"]
    return {key: each.get("figure") for key, each in found.items()}


def test_the_columns_of_table_2(general: General, tmp_path: Path) -> None:
    lies = {
        "muir-1": "(B)",  # Right, but not as lmms-eval reads it.
        "blink-Counting-0": "The answer is (B).",
        "mibench-general_comparison-0": "The second.",
        "mibench-text_rich_images-1": "the second, I think",
        "mantis-1": "(A) the first",
        "mmiu-spot_the_diff-1": "A man stands in both.",
        "mmiu-spot_the_diff-2": "It is the third image.",
    }
    done = general("table2", lies=lies)
    assert done.status == 0, done.err
    assert figures(tmp_path) == {
        "muirbench": pytest.approx(100 * 3 / 4),
        "blink": pytest.approx(100 * 15 / 16),
        "mibench": pytest.approx(100 * (1 / 2 + 1 + 1) / 3),
        "mantis_eval": pytest.approx(100 * 2 / 3),
        "mmiu": pytest.approx(100 * (1 + 2 / 3) / 2),
    }
    lines = done.out.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("  eyes"))
    average = sum(figures(tmp_path).values()) / 5
    assert row[1:] == ["75.00", "93.75", "83.33", "66.67", "83.33", f"{average:.2f}"]
    assert any(line.split()[:2] == ["Migician", "53.69"] for line in lines)
    # What was asked is as published.
    asked = general_model.written(tmp_path / "diary.jsonl")
    (mibench,) = general_model.about(asked, "mibench-logical_reasoning-1")
    assert mibench == (
        "Image-1 and Image-2: which is red? mibench-logical_reasoning-1 "
        "Please only strictly answer from the choice list: The first. | The second."
    )
    (mmiu,) = general_model.about(asked, "mmiu-face_retrieval-0")
    assert mmiu == (
        "Question:\nWhich is red? mmiu-face_retrieval-0\nSpecifically:\nSelect from the following "
        "choices.\nA: The first image\nB: The second image\nC: The third image"
    )
    assert not general_model.about(asked, "without an answer")
    assert not general_model.about(asked, "shots")
    # lmms-eval's own settings of a task are the model's: Mantis-Eval is sampled, MuirBench is not.
    diary = (tmp_path / "diary.jsonl").read_text().splitlines()
    for name, settings in (("mantis-", "=64, temperature=0.2"), ("muir-", "=16, temperature=0.0")):
        assert f"max_new_tokens{settings}" in next(line for line in diary if name in line)


def test_the_columns_of_table_3(general: General, tmp_path: Path) -> None:
    lies = {"mme-existence-1": "Yes", "mmbench-3": "The colour is grey.", "mmbench-0": "grey"}
    done = general("table3", lies=lies)
    assert done.status == 0, done.err
    assert figures(tmp_path) == {
        # Of the pair that is always answered with yes, one is right, which is half of the accuracy.
        "mme": pytest.approx((200 + 50) / 2 + 200),
        "mmbench": pytest.approx(75.0),
        "v_star": 0.0,  # The thing is too small to be seen in the whole image.
        "v_star_parts": pytest.approx(100.0),
    }
    rows = [line.split() for line in done.out.splitlines()]
    assert ["eyes", "325.0", "75.0", "0.00"] in rows
    assert ["V*", "Bench", "in", "parts", "–", "–", "100.00"] in rows
    assert ["Migician", "*2244.7", "80.0", "72.30"] in rows


def test_v_star_in_parts_finds_the_part_then_the_place_then_answers(
    general: General, tmp_path: Path
) -> None:
    lies = {
        "vstar-0 Just recognize": "I cannot tell.",
        "Locate what this question is about: What shape is the red thing? vstar-1": "nowhere",
    }
    done = general("table3", "--benchmarks", "v_star_parts", lies=lies)
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "run.json").read_text())["benchmarks"]["v_star_parts"]
    tasks = found["tasks"]["migbench_vstar_parts"]
    assert tasks == pytest.approx(
        {"documents": 3, "vstar_parts_acc": 1 / 3, "vstar_located": 1 / 3}
    )
    asked = general_model.written(tmp_path / "diary.jsonl")
    rounds = {number: [text for text in asked if f"vstar-{number}" in text] for number in range(3)}
    assert [len(each) for each in rounds.values()] == [2, 3, 3]
    first, second, third = rounds[2]
    assert first.count("<image>") == 3
    assert first.endswith("Answer from: Image-1, Image-2, Image-3")
    assert second.startswith("<image>Locate what this question is about: What shape is the red")
    assert third.startswith("<image><image>The second image shows a region of the first one. ")
    assert third.count("(B) square") == 1
    assert rounds[1][2].startswith("<image>What shape is the red thing?")


def test_the_columns_of_table_4(general: General, tmp_path: Path) -> None:
    done = general("table4")
    assert done.status == 0, done.err
    keys = [each.key for each in SUITES["table4"]]
    assert figures(tmp_path) == dict.fromkeys(keys, 100.0)
    (row,) = (line.split() for line in done.out.splitlines() if line.startswith("  eyes"))
    assert row[1:] == ["100.00"] * 9


@pytest.mark.parametrize("writes", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def test_refcoco_reads_a_model_as_its_family_writes(
    writes: str, general: General, tmp_path: Path
) -> None:
    done = general("table4", "--benchmarks", "refcoco+_testB", writes=writes)
    assert done.status == 0, done.err
    assert figures(tmp_path) == {"refcoco+_testB": 100.0}


def test_refcoco_reads_nobody_as_another_family_writes(general: General, tmp_path: Path) -> None:
    done = general("table4", "--benchmarks", "refcoco_val", writes="qwen2.5-vl", read_as="qwen3-vl")
    assert done.status == 0, done.err
    assert figures(tmp_path) == {"refcoco_val": 0.0}


def test_refcoco_asks_every_expression_in_the_dialect(general: General, tmp_path: Path) -> None:
    lies = {"what is red": "It is on the left."}
    done = general("table4", "--benchmarks", "refcocog_test", lies=lies)
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "run.json").read_text())["benchmarks"]["refcocog_test"]
    tasks = found["tasks"]["migbench_refcocog_test"]
    assert tasks["documents"] == 3
    assert tasks["acc@0.5"] == pytest.approx(2 / 3)
    assert tasks["unreadable"] == pytest.approx(1 / 3)
    asked = general_model.written(tmp_path / "diary.jsonl")
    assert sorted(text.partition(" in this")[0] for text in asked) == [
        "<image>Locate <|object_ref_start|>the red one test-0<|object_ref_end|>",
        "<image>Locate <|object_ref_start|>the red one test-1<|object_ref_end|>",
        "<image>Locate <|object_ref_start|>what is red<|object_ref_end|>",
    ]


def test_a_failure_leaves_its_benchmark_without_a_figure_until_it_is_asked_again(
    general: General, tmp_path: Path
) -> None:
    chosen = ("--benchmarks", "mantis_eval,muirbench")
    done = general("table2", *chosen, fails="mantis-1")
    assert done.status == 1
    assert figures(tmp_path) == {"muirbench": 100.0, "mantis_eval": None}
    assert "Mantis_eval: 1 of 3 questions have no answer (last reason: out of memory)" in done.err
    (row,) = (line.split() for line in done.out.splitlines() if line.startswith("  eyes"))
    assert row[1:] == ["100.00", "–", "–", "–", "–", "–"]
    before = len(general_model.written(tmp_path / "diary.jsonl"))
    refused = general("table2", *chosen)
    assert refused.status == 2
    assert "settings.fails" in refused.err
    again = general("table2", *chosen, fails="mantis-1", lies={"mantis-1": "unused"})
    assert again.status == 1
    asked = general_model.written(tmp_path / "diary.jsonl")[before:]
    assert [general_model.about(asked, "mantis-1") != [], len(asked)] == [True, 1]


def test_the_same_command_goes_on(general: General, tmp_path: Path) -> None:
    chosen = ("--benchmarks", "mme")
    limited = general("table3", *chosen, "--limit", "1")
    assert limited.status == 0, limited.err
    assert "the first 1 questions of each task alone" in limited.out
    assert len(general_model.written(tmp_path / "diary.jsonl")) == 2  # A question has two forms.
    assert general("table3", *chosen).status == 0
    assert len(general_model.written(tmp_path / "diary.jsonl")) == 8
    assert general("table3", *chosen).status == 0
    assert len(general_model.written(tmp_path / "diary.jsonl")) == 8
    answers = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len(answers) == 8


def test_rows_of_earlier_runs_stand_beside(general: General, tmp_path: Path) -> None:
    chosen = ("--benchmarks", "muirbench")
    assert general("table2", *chosen, out="first", lies={"muir-0": "D"}).status == 0
    done = general("table2", *chosen, "--beside", tmp_path / "first", "--format", "csv")
    assert done.status == 0, done.err
    rows = {row["model"]: row for row in csv.DictReader(done.out.splitlines())}
    for name, figure in (("eyes (out)", 100.0), ("eyes (first)", 75.0)):
        assert rows[name]["annotations"] == "lmms-eval 0.7.3"
        assert float(rows[name]["muirbench"]) == figure


@pytest.mark.parametrize(
    ("benchmark", "damage", "told"),
    [
        ("mibench", "image/general_comparison/0-img1.png", "1 of 12 images are missing, such as"),
        ("mmiu", "all.parquet", "MMIU: lmms-eval failed"),
    ],
)
def test_data_that_is_not_as_published_is_named(
    benchmark: str, damage: str, told: str, general: General, tmp_path: Path, patience: None
) -> None:
    data = tmp_path / "data"
    getattr(general_data, benchmark)(data / benchmark)
    (data / benchmark / damage).unlink()
    done = general("table2", "--benchmarks", benchmark, "--data", data)
    assert done.status == 2
    assert told in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval tries whatever fails at loading five times, two seconds apart."""
    from lmms_eval.api.task import ConfigurableTask
    from tenacity import wait_none

    monkeypatch.setattr(ConfigurableTask.download.retry, "wait", wait_none())


@pytest.mark.parametrize("documents", [refcoco_documents, vstar_documents])
def test_images_are_shown_as_they_are_stored(documents: Callable[[Any], Any]) -> None:
    noise = Image.effect_noise((64, 48), 90).convert("RGB")
    stored = io.BytesIO()
    noise.save(stored, "JPEG", quality=40)
    row = {"question_id": "1", "answer": ["it", "that"], "bbox": [0.0, 0.0, 9.0, 9.0]}
    rows = Dataset.from_list([{**row, "image": {"bytes": stored.getvalue(), "path": None}}])
    pictures = [each["image"] for each in documents(rows.cast_column("image", Picture()))]
    assert pictures
    assert {each.tobytes() for each in pictures} == {Image.open(stored).tobytes()}


def test_a_checkpoint_is_asked_through_its_own_adapter(
    checkpoint: Path, benchmarks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = migbench(
        *("general", "--model", checkpoint, "--max-new-tokens", "2", "--batch-size", "2"),
        *("--suite", "table2", "--suite", "table3", "--benchmarks", "mme,muirbench"),
        *("--data", benchmarks, "--out", out),
    )
    assert done.status == 0, done.err
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    # Untrained, so nothing can be said of its answers but that they are its own.
    assert all(line["completion_tokens"] <= 2 for line in lines)
    shown = {line["prompt"].count("<image>", 0, 21) for line in lines if "muir" in line["prompt"]}
    assert shown == {3}
    assert [line for line in done.out.splitlines() if line.startswith("  tiny")]


# --- the same tasks and models for those who live in lmms-eval ------------------------------------


def test_lmms_eval_runs_a_model_of_migbench_on_our_tasks(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGBENCH_DATA", str(benchmarks))
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen3-vl")
    model = get_model("migbench").create_from_arg_string(
        f"model=eyes,adapter={EYES},dialect=qwen3-vl,writes=qwen3-vl", {"batch_size": 1}
    )
    manager = TaskManager(include_path=str(tasks_folder()), include_defaults=False)
    configured = manager._get_config("migbench_mmiu")
    assert configured["dataset_path"] == "FanqingM/MMIU-Benchmark"
    # What a user without a connection would do: a file that includes ours, with another path.
    file = tmp_path / "mmiu_here.yaml"
    file.write_text(
        f"include: {tasks_folder() / 'general' / 'migbench_mmiu.yaml'}\n"
        f"task: mmiu_here\ndataset_path: {benchmarks / 'mmiu'}\n"
    )
    done = evaluator.simple_evaluate(
        model=model,
        tasks=["mmiu_here"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    model.close()
    assert done["results"]["mmiu_here"]["mmiu_acc,none"] == 1.0
