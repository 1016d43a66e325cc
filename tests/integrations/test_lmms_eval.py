"""What migbench has for lmms-eval, as far as it can be seen without it: declarations and logs.

That lmms-eval itself runs the task files is tested in ``tests/in_lmms_eval``.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Done, migbench
from support.data_files import record, write_annotations, write_images

from migbench.asking.evaluators import EVALUATORS
from migbench.data.annotations import Annotations, read_annotations
from migbench.dialects import load_dialects
from migbench.errors import DataError, UsageError
from migbench.integrations.lmms_eval import declared, hooks
from migbench.integrations.lmms_eval.declared import declared_data, declared_dialect
from migbench.integrations.lmms_eval.failures import failure
from migbench.mini import render
from migbench.models.resolving import load_profiles, resolve_model
from migbench.runs.store import Run
from migbench.tasks import load_tasks, tasks_folder
from migbench.util.yaml_files import read_yaml


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return read_annotations(render(tmp_path_factory.mktemp("mini"), per_task=2))


# --- the task files -------------------------------------------------------------------------------


def test_a_tasks_data_set_is_called_by_its_key() -> None:
    named = {
        spec.key: read_yaml(tasks_folder() / f"migbench_{spec.key}.yaml") for spec in load_tasks()
    }
    assert {key: content["dataset_name"] for key, content in named.items()} == {
        key: key for key in named
    }


def test_every_metric_that_is_listed_is_given(mini: Annotations, declare: Any) -> None:
    listed = read_yaml(tasks_folder() / "_migbench_template_yaml")["metric_list"]
    given = hooks.process_results({"reference": reference(mini, 0)}, ["(0,0),(9,9)"])
    assert {metric["metric"] for metric in listed} == given.keys()


def test_all_at_once_has_room_for_every_box(original: Annotations) -> None:
    for path in (tasks_folder() / "all_at_once").glob("migbench_all_*.yaml"):
        key = path.stem.removeprefix("migbench_all_")
        most = max(
            len(each.asked)
            for each in EVALUATORS["all-at-once"](original.instances)
            if each.task == key
        )
        assert read_yaml(path)["generation_kwargs"]["max_new_tokens"] == 128 * most


def test_the_group_of_all_at_once_has_ten_tasks_with_files() -> None:
    group = read_yaml(tasks_folder() / "all_at_once" / "migbench_all.yaml")["task"]
    keys = [name.removeprefix("migbench_").removeprefix("all_") for name in group]
    assert keys == [spec.key for spec in load_tasks()]
    together = {spec.key for spec in load_tasks() if spec.all_at_once}
    assert {key for name, key in zip(group, keys, strict=True) if "_all_" in name} == together


# --- declarations ---------------------------------------------------------------------------------


def test_a_dialect_is_declared_by_name() -> None:
    found = declared_dialect({"MIGBENCH_DIALECT": "internvl"})
    assert (found.dialect.name, found.correction) == ("internvl", None)


def test_a_profile_brings_its_correction_and_its_pixel_bounds() -> None:
    migician = declared_dialect({"MIGBENCH_DIALECT": "migician"})
    assert (migician.dialect.name, migician.correction) == (
        "qwen2-vl",
        load_profiles()["migician"].corrections,
    )


def test_a_name_that_is_both_means_the_same_either_way() -> None:
    both = load_dialects().keys() & load_profiles().keys()
    assert both
    for name in both:
        model = resolve_model(name)
        assert (model.dialect, model.corrections) == (load_dialects()[name], None)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        pytest.param({}, "MIGBENCH_DIALECT is unset", id="unset"),
        pytest.param({"MIGBENCH_DIALECT": " "}, "MIGBENCH_DIALECT is unset", id="blank"),
        pytest.param({"MIGBENCH_DIALECT": "qwen9"}, "MIGBENCH_DIALECT=qwen9", id="unknown"),
    ],
)
def test_nothing_is_guessed(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        declared_dialect(environment)


def test_data_is_a_folder_or_a_file(mini: Annotations) -> None:
    for named in (mini.path, mini.path.parent):
        assert declared_data({"MIGBENCH_DATA": str(named)}).annotations == mini.path


def test_without_a_folder_the_published_data_set_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(folder: Path) -> None:
        folder.mkdir()
        (folder / "MIG_data.json").write_text("[]")
        fetched.append(folder)

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("migbench.data.download.download", download)
    declared._published.cache_clear()
    found = [declared_data({}).annotations for _ in range(2)]
    declared._published.cache_clear()
    assert found == [tmp_path / "migbench" / "MIG_data.json"] * 2
    assert fetched == [tmp_path / "migbench"]


# --- the hooks ------------------------------------------------------------------------------------


@pytest.fixture
def declare(mini: Annotations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DATA", str(mini.path))
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")


def reference(source: Annotations, index: int, **changes: str) -> str:
    return json.dumps(
        {
            "question": source.instances[index].id,
            "evaluator": "polling",
            "dialect": "qwen2-vl",
            "content_sha256": source.content_sha256,
        }
        | changes
    )


class Records:
    """A data set as far as the hooks know one."""

    def __init__(self, questions: list[str], name: str) -> None:
        self.questions = questions
        self.info = type("Info", (), {"config_name": name})

    def __getitem__(self, column: str) -> list[str]:
        return {"question": self.questions}[column]

    @classmethod
    def from_list(cls, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return documents


def records(annotations: Annotations, name: str) -> Records:
    return Records([each.question for each in annotations.instances], name)


def test_documents_hold_images_by_path_then_the_question(mini: Annotations, declare: None) -> None:
    first, second = hooks.polling(records(mini, "refer_grounding"))
    *images, text = hooks.doc_to_messages(first)[0]["content"]
    assert [Path(part["url"]).is_file() for part in images] == [True, True]
    assert text["text"].endswith("Don't generate addtional words.")
    assert hooks.doc_to_text(first) == text["text"]
    assert [image.size for image in hooks.doc_to_visual(second)]


def test_questions_on_one_image_set_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [["a.png", "b.png"], ["c.png", "d.png"], ["a.png", "b.png"]]
    asked = [
        record(images=images, question=f"Where is {number}?") for number, images in enumerate(sets)
    ]
    path = write_annotations(tmp_path / "mine.json", *asked)
    monkeypatch.setenv("MIGBENCH_DATA", str(path))
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")
    found = hooks.polling(records(read_annotations(path), "diff"))
    order = [hooks.doc_to_text(each).split("?")[0] for each in found]
    assert order == ["Where is 0", "Where is 2", "Where is 1"]


def test_another_annotation_file_is_refused(mini: Annotations, declare: None) -> None:
    other = Records(["Where?"], "diff")
    with pytest.raises(UsageError, match="another annotation file than MIGBENCH_DATA"):
        hooks.polling(other)


@pytest.mark.parametrize(
    ("dialect", "there", "refused"),
    [
        pytest.param("qwen2-vl", 0, False, id="no-image-at-all-serves-a-replay"),
        pytest.param("qwen2-vl", 1, True, id="some-are-missing"),
        pytest.param("qwen2.5-vl", 0, True, id="pixels-need-them"),
    ],
)
def test_missing_images_are_refused_at_once(
    dialect: str,
    there: int,
    refused: bool,
    mini: Annotations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "MIG_mini.json"
    path.write_bytes(mini.path.read_bytes())
    write_images(tmp_path, mini.instances[0].images[:there])
    monkeypatch.setenv("MIGBENCH_DATA", str(path))
    monkeypatch.setenv("MIGBENCH_DIALECT", dialect)
    asked = records(mini, mini.instances[0].task)
    if not refused:
        assert len(hooks.polling(asked)) == 2
        return
    with pytest.raises(DataError, match="images are missing, such as"):
        hooks.polling(asked)


def test_a_failure_has_no_score(mini: Annotations, declare: None) -> None:
    marker = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] time-out"
    given = hooks.process_results({"reference": reference(mini, 0)}, [marker])
    assert given["acc@0.5"]["values"] == [None]
    assert "score" not in given["acc@0.5"]
    assert given["model_error"]["score"] == 1
    assert math.isnan(hooks.mean([given["acc@0.5"], {"values": [1.0]}]))


def test_a_filters_refusal_is_refused_and_no_failure(mini: Annotations, declare: None) -> None:
    marker = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] 400 {'code': 'content_filter'}"
    assert failure(marker) is None
    given = hooks.process_results({"reference": reference(mini, 0)}, [marker])
    assert given["acc@0.5"]["values"] == [0.0]
    assert (given["model_error"]["score"], given["unreadable"]["score"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("[LMMS_EVAL_REQUEST_FAILED after 5 retries] time-out", True),
        ("[LMMS_EVAL_BUDGET_EXCEEDED]", True),
        ("", False),
        ("(1,2),(3,4)", False),
        ("As [LMMS_EVAL_REQUEST_FAILED] says", False),
    ],
)
def test_failures_are_told_from_answers(text: str, failed: bool) -> None:
    assert failure(text) == (text if failed else None)


# --- the adapter ----------------------------------------------------------------------------------


def test_without_lmms_eval_its_adapter_says_how_to_get_it(
    mini: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("lmms_eval", "lmms_eval.models"):
        monkeypatch.setitem(sys.modules, module, None)
    done = migbench(
        *("run", "--model", "qwen2_5_vl", "--adapter", "lmms-eval", "--dialect", "qwen2.5-vl"),
        *("--data", mini.path, "--out", tmp_path / "run"),
    )
    assert done.status == 2
    assert "docs/lmms-eval.md says how" in done.err


# --- logs -----------------------------------------------------------------------------------------


def log(folder: Path, *samples: dict[str, Any] | str, name: str = "diff") -> Path:
    folder.mkdir(exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in samples]
    path = folder / f"20260101_000000_samples_migbench_{name}.jsonl"
    path.write_text("\n".join(lines))
    return folder


def imported(annotations: Annotations, logs: Path, out: Path, dialect: str = "qwen2-vl") -> Done:
    return migbench(
        *("import", "lmms-eval", logs, "--annotations", annotations.path),
        *("--profile", "mine", "--dialect", dialect, "--out", out),
    )


def test_logged_answers_become_a_run(mini: Annotations, tmp_path: Path) -> None:
    logs = log(
        tmp_path / "logs",
        {"target": reference(mini, 0), "filtered_resps": " (1,2),(3,4)", "input": "Where?"},
        {"target": reference(mini, 1), "filtered_resps": "[LMMS_EVAL_BUDGET_EXCEEDED]"},
    )
    done = imported(mini, logs, tmp_path / "run")
    assert done.status == 0, done.err
    first, second = (Run(tmp_path / "run").lines[each.id, 0] for each in mini.instances[:2])
    assert (first.text, first.prompt) == (" (1,2),(3,4)", "Where?")
    assert (second.text, second.error) == (None, "[LMMS_EVAL_BUDGET_EXCEEDED]")
    assert Run(tmp_path / "run").manifest.status == "incomplete"


def test_the_raw_answer_counts_where_a_filter_has_changed_it(
    mini: Annotations, tmp_path: Path
) -> None:
    sample = {"target": reference(mini, 0), "filtered_resps": "", "resps": ["<think>"]}
    done = imported(mini, log(tmp_path / "logs", sample), tmp_path / "run")
    assert done.status == 0, done.err
    assert Run(tmp_path / "run").lines[mini.instances[0].id, 0].text == "<think>"


def test_answers_to_all_at_once_make_such_a_run(mini: Annotations, tmp_path: Path) -> None:
    questions = [each for each in EVALUATORS["all-at-once"](mini.instances) if len(each.asked) > 1]
    samples = [
        {
            "target": reference(mini, 0, question=each.id, evaluator="all-at-once"),
            "filtered_resps": "(1,2),(3,4)",
        }
        for each in questions
    ]
    # Tasks that ask the same in both forms come from the files of polling.
    samples.append({"target": reference(mini, 0), "filtered_resps": "(1,2),(3,4)"})
    done = imported(mini, log(tmp_path / "logs", *samples), tmp_path / "run")
    assert done.status == 0, done.err
    assert Run(tmp_path / "run").settings.evaluator == "all-at-once"
    scored = json.loads(migbench("score", tmp_path / "run", "--json", "-").out)
    targets = sum(len(each.targets) for each in questions)
    answered = scored["macro"]["n"] - scored["macro"]["outcomes"]["model_error"]
    assert answered == targets + 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"content_sha256": "0" * 64}, "another annotation file", id="annotations"),
        pytest.param({"dialect": "internvl"}, "asked in dialect internvl", id="dialect"),
        pytest.param({"question": "diff-000"}, "diff-000 is no question of", id="question"),
    ],
)
def test_logs_of_something_else_are_refused(
    changes: dict[str, str], complaint: str, mini: Annotations, tmp_path: Path
) -> None:
    sample = {"target": reference(mini, 0, **changes), "filtered_resps": "(1,2),(3,4)"}
    done = imported(mini, log(tmp_path / "logs", sample), tmp_path / "run")
    assert (done.status, complaint in done.err) == (2, True), done.err
    assert "migbench_diff.jsonl:1" in done.err


def test_logs_of_two_runs_are_refused(mini: Annotations, tmp_path: Path) -> None:
    sample = {"target": reference(mini, 0), "filtered_resps": "(1,2),(3,4)"}
    log(tmp_path / "logs", sample)
    done = imported(mini, log(tmp_path / "logs", sample, name="region"), tmp_path / "run")
    assert done.status == 2
    assert "was answered at" in done.err


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"target": "7", "filtered_resps": "A"}', id="another-benchmarks-target"),
        pytest.param('{"filtered_resps": "A"}', id="no-target"),
        pytest.param("[" * 100_000, id="nested-too-deeply"),
    ],
)
def test_what_is_no_log_is_refused(line: str, mini: Annotations, tmp_path: Path) -> None:
    done = imported(mini, log(tmp_path / "logs", line), tmp_path / "run")
    assert (done.status, "jsonl:1: no sample of migbench's tasks" in done.err) == (2, True)


def test_a_folder_without_logs_is_refused_with_the_remedy(
    mini: Annotations, tmp_path: Path
) -> None:
    done = imported(mini, tmp_path, tmp_path / "run")
    assert done.status == 2
    assert "--log_samples" in done.err
