"""migbench's task files in lmms-eval: what is asked, what is scored, what is refused."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import evaluate
from lmms_eval.api.task import ConfigurableTask
from lmms_models import FAILED, Chat, Replay, Simple
from tenacity import wait_none

from migbench.asking.evaluators import EVALUATORS
from migbench.data.annotations import Annotations, read_annotations
from migbench.errors import UsageError
from migbench.messages import Answer, ImageFile
from migbench.models.resolving import Overrides, resolve_model
from migbench.runs.importing import Imported, read_released, store_import
from migbench.runs.store import Run
from migbench.scoring import PROTOCOLS
from migbench.scoring.scored_run import ScoredRun, score_run
from migbench.tasks import load_tasks

TASKS = [spec.key for spec in load_tasks()]
Declare = Callable[[Path, str], None]


def recall(answers: dict[str, str]) -> Replay:
    return Replay(lambda reference: answers[json.loads(reference)["question"]])


def figures(done: dict[str, Any], task: str) -> dict[str, Any]:
    """A task's results, by metric, without lmms-eval's name for "no filter"."""
    return {key.removesuffix(",none"): value for key, value in done["results"][task].items()}


def made_up(annotations: Annotations, evaluator: str) -> dict[str, str]:
    """Answers of every kind: right, wrong, several boxes, none at all."""
    answers = {}
    for number, question in enumerate(EVALUATORS[evaluator](annotations.instances)):
        boxes = [
            "({:.0f},{:.0f}),({:.0f},{:.0f})".format(*(1000 * edge for edge in target.box))
            for target in question.targets
        ]
        answers[question.id] = [
            " ".join(boxes),
            "(1,1),(9,9)",
            f"  {boxes[0]}\n",
            "It is on the left.",
            "I cannot help with that.",
        ][number % 5]
    return answers


def stored(
    annotations: Annotations, answers: dict[str, str], evaluator: str, out: Path, protocol: str
) -> ScoredRun:
    """The same answers, scored by migbench."""
    questions = EVALUATORS[evaluator](annotations.instances)
    imported = [
        Imported(each.targets[0], Answer(answers[each.id]), question=each.id) for each in questions
    ]
    model = resolve_model("replayed", Overrides(adapter="imported", dialect=dialect()))
    store_import(imported, model, annotations, out, "test", evaluator)
    return score_run(Run(out), protocol=protocol)


def dialect() -> Any:
    return resolve_model("qwen2-vl-7b").dialect


@pytest.mark.parametrize(("evaluator", "group"), [("polling", ""), ("all-at-once", "all_")])
def test_the_same_answers_get_the_same_scores(
    evaluator: str, group: str, mini: Path, tmp_path: Path, declare: Declare
) -> None:
    annotations = read_annotations(mini / "MIG_mini.json")
    answers = made_up(annotations, evaluator)
    declare(mini, "qwen2-vl")
    done = evaluate(recall(answers), "migbench_all" if group else "migbench")
    standard = stored(annotations, answers, evaluator, tmp_path / "a", "standard").scores
    others = {
        name: stored(annotations, answers, evaluator, tmp_path / name, name).scores
        for name in PROTOCOLS
        if name != "standard"
    }
    for key in TASKS:
        together = group if f"migbench_{group}{key}" in done["results"] else ""
        found = figures(done, f"migbench_{together}{key}")
        scores = standard.tasks[key]
        assert found["acc@0.5"] * 100 == pytest.approx(scores.at_50), key
        assert found["acc@0.3"] * 100 == pytest.approx(scores.at_30), key
        assert found["acc@0.7"] * 100 == pytest.approx(scores.at_70), key
        assert found["mean_iou"] == pytest.approx(scores.mean_iou), key
        for name, other in others.items():
            assert found[f"{name}_acc@0.5"] * 100 == pytest.approx(other.tasks[key].at_50), key
        assert found["unreadable"] * scores.n == pytest.approx(scores.outcomes["unreadable"]), key
    macro = figures(done, "migbench_all" if group else "migbench")
    assert macro["acc@0.5"] * 100 == pytest.approx(standard.macro.at_50)
    for name, other in others.items():
        assert macro[f"{name}_acc@0.5"] * 100 == pytest.approx(other.macro.at_50)
    assert 0 < macro["acc@0.5"] < 1


def test_the_published_answers_get_the_published_totals(
    shared: Path, revised: Annotations, tmp_path: Path, declare: Declare
) -> None:
    answers = list(read_released(shared / "real_outputs" / "migician", revised))
    declare(revised.path, "migician")
    done = evaluate(
        recall({each.instance.id: each.answer.text if each.answer else "" for each in answers}),
        "migbench",
    )
    store_import(answers, resolve_model("migician"), revised, tmp_path / "run", "test")
    scores = score_run(Run(tmp_path / "run"), protocol="released").scores
    hits = {
        key: figures(done, f"migbench_{key}")["released_acc@0.5"] * revised.counts[key]
        for key in TASKS
    }
    assert hits == pytest.approx(
        {key: task.at_50 * task.n / 100 for key, task in scores.tasks.items() if task.at_50}
    )
    assert sum(hits.values()) == pytest.approx(2983)
    assert figures(done, "migbench")["released_acc@0.5"] * 100 == pytest.approx(scores.macro.at_50)


def test_standard_errors_are_clustered_by_image(mini: Path, declare: Declare) -> None:
    annotations = read_annotations(mini / "MIG_mini.json")
    answers = made_up(annotations, "polling")
    declare(mini, "qwen2-vl")
    done = evaluate(recall(answers), "migbench_region")
    samples = done["samples"]["migbench_region"]
    hits = {
        json.loads(each["target"])["question"]: each["acc@0.5"]["values"][0] for each in samples
    }
    mean = sum(hits.values()) / len(hits)
    off: dict[int, float] = defaultdict(float)
    for key, hit in hits.items():
        off[annotations.cluster_of(annotations.by_id[key])] += hit - mean
    assert 1 < len(off) < len(hits)
    found = figures(done, "migbench_region")
    # lmms-eval takes n - 1 for the variance, and n for what covaries within a cluster.
    squares = sum((hit - mean) ** 2 for hit in hits.values())
    covaries = sum(each**2 for each in off.values()) - squares
    n = len(hits)
    expected = math.sqrt(squares / (n - 1) / n + covaries / n**2)
    assert found["acc@0.5_stderr_clustered"] == pytest.approx(expected)


def test_a_failure_leaves_its_task_and_the_average_without_a_number(
    mini: Path, declare: Declare
) -> None:
    annotations = read_annotations(mini / "MIG_mini.json")
    answers = made_up(annotations, "polling")
    first = next(each.id for each in annotations.instances if each.task == "reasoning")
    answers[first] = FAILED
    declare(mini, "qwen2-vl")
    done = evaluate(recall(answers), "migbench")
    failed, other = (figures(done, f"migbench_{key}") for key in ("reasoning", "diff"))
    assert math.isnan(failed["acc@0.5"])
    assert math.isnan(failed["released_acc@0.5"])
    assert failed["model_error"] == pytest.approx(1 / 6)
    assert other["acc@0.5"] >= 0
    assert math.isnan(figures(done, "migbench")["acc@0.5"])


def test_images_come_first_and_by_path(mini: Path, declare: Declare) -> None:
    declare(mini, "qwen2-vl")
    model = Chat()
    evaluate(model, "migbench_refer_grounding")
    instance = next(
        each
        for each in read_annotations(mini / "MIG_mini.json").instances
        if each.task == "refer_grounding"
    )
    ((message,), *_) = model.messages
    *images, text = message["content"]
    assert [each["url"] for each in images] == [str(mini / name) for name in instance.images]
    assert text["text"].startswith(instance.question)
    assert model.settings[0]["max_new_tokens"] == 128


def test_a_simple_model_gets_decoded_images_and_the_text(mini: Path, declare: Declare) -> None:
    declare(mini, "qwen2-vl")
    model = Simple()
    evaluate(model, "migbench_refer_grounding")
    images, text = model.messages[0]
    instance = next(
        each
        for each in read_annotations(mini / "MIG_mini.json").instances
        if each.task == "refer_grounding"
    )
    shown = [ImageFile(name, mini / name).open().tobytes() for name in instance.images]
    assert [image.tobytes() for image in images] == shown
    assert text.startswith(instance.question)


def test_a_dialect_with_text_between_its_images_is_asked_so(mini: Path, declare: Declare) -> None:
    declare(mini, "internvl")
    model = Chat()
    evaluate(model, "migbench_refer_grounding")
    ((message,), *_) = model.messages
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["text", "image", "text", "image", "text"]


@pytest.mark.parametrize("name", ["", "qwen9-vl"])
def test_a_dialect_is_never_guessed(name: str, mini: Path, declare: Declare) -> None:
    declare(mini, name)
    with pytest.raises(UsageError, match="declared, never guessed"):
        evaluate(Chat(), "migbench_diff")


def test_pixels_without_images_are_refused(
    shared: Path, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    # lmms-eval tries whatever fails at loading five times, two seconds apart.
    monkeypatch.setattr(ConfigurableTask.download.retry, "wait", wait_none())
    declare(shared / "mig_bench" / "MIG_data.json", "qwen2.5-vl")
    with pytest.raises(Exception, match="RetryError") as refused:
        evaluate(Chat(), "migbench_reasoning")
    assert "dialect qwen2.5-vl counts in their pixels" in str(refused.value.__cause__)


def test_a_model_that_raises_ends_the_evaluation(mini: Path, declare: Declare) -> None:
    class Broken(Chat):
        def say(self, messages: Any) -> Any:
            raise RuntimeError("CUDA error: out of luck")

    declare(mini, "qwen2-vl")
    with pytest.raises(RuntimeError, match="out of luck"):
        evaluate(Broken(), "migbench_diff")
