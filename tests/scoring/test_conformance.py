"""Golden data made by running the published evaluator: every row must agree, nothing excepted."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.sample_scores import instance, sample_score

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import find_strategy
from migbench.boxes import Box, iou
from migbench.data.annotations import Annotations
from migbench.dialects import ask, find_dialect
from migbench.messages import ImageFile
from migbench.models.corrections import Correction
from migbench.models.resolving import load_profiles
from migbench.scoring.protocols.released import parse


def golden(shared: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(shared / "conformance" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# --- parsing and IoU ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parsed(shared: Path) -> list[dict[str, Any]]:
    return golden(shared, "parse_and_iou")


@pytest.mark.parametrize(
    ("column", "profile"), [("released", "qwen2-vl-7b"), ("released_migician", "migician")]
)
def test_every_answer_is_read_and_scored_as_published(
    parsed: list[dict[str, Any]], column: str, profile: str
) -> None:
    correction = load_profiles()[profile].corrections
    differing = []
    for row in parsed:
        prediction, overlap = as_published(row["response"], row["answer"], correction)
        same_box = prediction == row[column]["prediction"]
        if not same_box or overlap != pytest.approx(row[column]["iou"], abs=1e-12):
            differing.append((row, prediction, overlap))
    assert differing == []
    assert len(parsed) == 4000


def as_published(
    answer: str, truth: list[float], correction: Correction | None
) -> tuple[list[Any], float]:
    """Prediction and IoU in the evaluator's shape: one box bare, several in a list, none empty."""
    boxes = parse(answer)
    if not boxes:
        return [], 0.0
    if len(boxes) == 1:
        box = correction.apply(boxes[0]) if correction else boxes[0]
        return list(box), float(iou(box, truth))
    return [list(box) for box in boxes], float(iou(boxes[0], truth))


@pytest.mark.parametrize(
    ("answer", "boxes"),
    [
        pytest.param("(100,200),(300,400)", [(0.1, 0.2, 0.3, 0.4)], id="corner-pairs"),
        pytest.param("(100,  200),  (300, 400)", [(0.1, 0.2, 0.3, 0.4)], id="space-after-commas"),
        pytest.param("(100 ,200),(300,400)", [], id="space-before-a-comma"),
        pytest.param("(-100,200),(300,400)", [], id="negative"),
        pytest.param("[0.1, 0.2,0.3, 0.4]", [(0.1, 0.2, 0.3, 0.4)], id="decimals-in-brackets"),
        pytest.param("(0.1,0.2),(0.3,0.4)", [(0.1, 0.2, 0.3, 0.4)], id="decimals-in-corner-pairs"),
        pytest.param("(0.1, 0.2),(0.3,0.4)", [], id="decimals-in-corner-pairs-with-a-space"),
        pytest.param("(0.1, 0.2, 0.3, 0.4)", [(0.1, 0.2, 0.3, 0.4)], id="decimals-in-parentheses"),
        pytest.param("[100, 200, 300, 400]", [(0.1, 0.2, 0.3, 0.4)], id="integers-in-brackets"),
        pytest.param("(100, 200, 300, 400)", [], id="integers-in-parentheses"),
        pytest.param("<box>100 200 300 400</box>", [(0.1, 0.2, 0.3, 0.4)], id="tag"),
        pytest.param("<box>100, 200, 300, 400</box>", [], id="tag-with-commas"),
        pytest.param(
            "[0.9, 0.9, 0.9, 0.9] (100,200),(300,400)", [(0.1, 0.2, 0.3, 0.4)], id="pattern-order"
        ),
        pytest.param("[0.5, 0.5, 1.0, 1.0]", [(0.5, 0.5, 0.001, 0.001)], id="one-box-divides-1"),
        pytest.param(
            "[0.5, 0.5, 1.0, 1.0] [2.0, 0.5, 1.0, 1.0]",
            [(0.5, 0.5, 1.0, 1.0), (0.002, 0.5, 1.0, 1.0)],
            id="several-boxes-keep-1",
        ),
        pytest.param("nothing", [], id="nothing"),
    ],
)
def test_the_published_reading_by_example(answer: str, boxes: list[tuple[float, ...]]) -> None:
    assert parse(answer) == boxes


@pytest.mark.parametrize(
    ("column", "profile"), [("univg", "qwen2-vl-7b"), ("univg_migician", "migician")]
)
def test_every_answer_is_scored_as_by_the_fork(shared: Path, column: str, profile: str) -> None:
    rows = golden(shared, "univg_parse_and_iou")
    correction = load_profiles()[profile].corrections
    differing = []
    for row in rows:
        target = instance(box=Box(*(edge / 1000 for edge in row["ground_truth"])))
        found = sample_score(
            row["response"], target=target, protocol="univg", correction=correction
        )
        box = [round(1000 * edge, 6) for edge in found.prediction.box or Box(0, 0, 0, 0)]
        if {"box": box, "iou": found.iou} != row[column]:
            differing.append((row, box, found.iou))
    assert differing == []
    assert len(rows) == 4000


@pytest.mark.parametrize(
    ("answer", "box", "iou"),
    [
        pytest.param("(200,200),(600,400)", (0.2, 0.2, 0.6, 0.4), 0.5, id="whole-numbers"),
        pytest.param("[0.2, 0.2, 0.6, 0.6]", None, 0.0, id="decimals-are-no-box"),
        pytest.param("[200.0, 200.0, 600.0, 600.0]", None, 0.0, id="nor-large-ones"),
        pytest.param("[0.2, 0.2, 0.6, 0.6] [200, 200, 600, 600]", None, 0.0, id="pattern-order"),
        pytest.param(
            "(200,200),(600,600) (1,2),(3,4)", (0.2, 0.2, 0.6, 0.6), 1.0, id="first-of-several"
        ),
        pytest.param(
            "<think>(200,200),(600,600)</think>(1,2),(3,4)",
            (0.2, 0.2, 0.6, 0.6),
            1.0,
            id="thought-and-all",
        ),
        pytest.param("nothing", None, 0.0, id="nothing"),
    ],
)
def test_the_forks_scoring_by_example(answer: str, box: Any, iou: float) -> None:
    found = sample_score(answer, protocol="univg")
    assert (found.prediction.box, found.iou) == (box, iou)


def test_the_fork_corrects_the_box_it_takes_of_several() -> None:
    correction = load_profiles()["migician"].corrections
    answer = "(200,200),(600,600) (1,2),(3,4)"
    for protocol, box in {
        "univg": (0.2, 0.21, 0.6, 0.66),
        "released": (0.2, 0.2, 0.6, 0.6),
    }.items():
        found = sample_score(answer, protocol=protocol, correction=correction)
        assert found.prediction.box == box


# --- prompts --------------------------------------------------------------------------------------

DIALECTS = {
    "qwen2_vl": "qwen2-vl",
    "internvl2": "internvl",
    "minicpm_v": "minicpm-v",
    "mantis": "mantis",
    "mplug_owl3": "mplug-owl3",
    "llava_onevision": "llava-onevision",
}


@pytest.fixture(scope="module")
def prompts(shared: Path) -> list[dict[str, Any]]:
    return golden(shared, "direct_prompts")


@pytest.mark.parametrize("family", DIALECTS)
def test_every_prompt_is_the_published_one(
    family: str, prompts: list[dict[str, Any]], original: Annotations
) -> None:
    dialect = find_dialect(DIALECTS[family])
    differing = []
    for row, question in zip(prompts, EVALUATORS["polling"](original.instances), strict=True):
        (turn,) = find_strategy("direct")(question)
        request = ask(dialect, turn, [ImageFile(name) for name in question.images])
        text = request.text(dialect.image_token)
        if hashlib.sha256(text.encode()).hexdigest() != row[family]["sha256"]:
            differing.append((row["index"], text))
        assert [image.name for image in request.images] == list(question.images)
    assert differing == []
    assert len(prompts) == 4295
