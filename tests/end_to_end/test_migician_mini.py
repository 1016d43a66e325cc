"""The trained miniature end to end: its accuracy is reproduced exactly, and mistakes cost it.

100 instances of MIG-Mini's test split are asked in float32. The figures were measured; a mistake in
coordinates, order, prompts or image handling anywhere makes them drop, as the planted ones do.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

import migbench
from migbench.asking.strategies import find_strategy
from migbench.boxes import Order
from migbench.dialects import Dialect
from migbench.mini import render
from migbench.models.resolving import Overrides
from migbench.scoring import PROTOCOLS, Outcome, Scorer

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

HITS = {
    "diff": 7,
    "view_diff": 9,
    "common_object": 8,
    "object_tracking": 10,
    "multi_view": 9,
    "region": 9,
    "refer_grounding": 8,
    "group_grounding": 10,
    "reasoning": 6,
    "correspondence": 8,
}
"""Hits among ten instances of each task, as measured."""

TOTAL = sum(HITS.values())
COSTLY = 0.5
"""A mistake leaves less than this share of the hits."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    """Sums keep their order whatever else is running."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=10)
    return folder


def plan_with(mini: Path, overrides: Overrides = Overrides()) -> migbench.Plan:
    model = migbench.resolve_model("migician-mini", overrides)
    return migbench.make_plan(model, migbench.locate_data(mini))


@pytest.fixture(scope="module")
def run(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> migbench.Run:
    out = tmp_path_factory.mktemp("run") / "run"
    migbench.execute(plan_with(mini), out)
    return migbench.Run(out)


def hits(run: migbench.Run, plan: migbench.Plan, dialect: Dialect) -> Counter[str]:
    """Hits by task where the stored answers are read in a dialect."""
    strategy = find_strategy("direct")
    scorer = Scorer(PROTOCOLS["standard"], dialect, strategy, image=plan.data.image)
    samples = scorer.score(plan.questions, run.lines)
    return Counter(each.instance.task for each in samples if each.outcome is Outcome.HIT)


def test_the_accuracy_is_reproduced_exactly(run: migbench.Run) -> None:
    scored = migbench.score_run(run)
    found = Counter(each.instance.task for each in scored.samples if each.outcome is Outcome.HIT)
    assert len(scored.samples) == 100
    assert dict(found) == {task: count for task, count in HITS.items() if count}
    assert scored.scores.macro.at_50 == pytest.approx(TOTAL)


def test_it_stands_far_above_the_whole_image(mini: Path, tmp_path: Path) -> None:
    model = migbench.resolve_model("whole-image")
    migbench.execute(migbench.make_plan(model, migbench.locate_data(mini)), tmp_path / "whole")
    macro = migbench.score_run(migbench.Run(tmp_path / "whole")).scores.macro.at_50
    assert macro is not None
    assert macro < 10


@pytest.mark.parametrize(
    ("mistake", "declared"),
    [
        ("axes swapped", {"order": Order.YXYX}),
        ("thousandths read as pixels", {"scale": "pixels"}),
    ],
)
def test_a_wrong_convention_costs_it(
    mini: Path, run: migbench.Run, mistake: str, declared: dict[str, object]
) -> None:
    plan = plan_with(mini)
    dialect = plan.settings.model.dialect
    assert hits(run, plan, dialect).total() == TOTAL, "read as it is declared nothing changes"
    wrong = msgspec.structs.replace(dialect, **declared)
    assert hits(run, plan, wrong).total() < COSTLY * TOTAL, mistake


@pytest.mark.parametrize("adapter", ["ReversesImages", "DropsLastImage"])
def test_images_shown_wrongly_cost_it(mini: Path, tmp_path: Path, adapter: str) -> None:
    faulty = f"{Path(__file__).parents[1] / 'support' / 'faulty_adapters.py'}:{adapter}"
    plan = plan_with(mini, Overrides(adapter=faulty, settings={"dtype": "float32"}))
    migbench.execute(plan, tmp_path / "faulty")
    scored = migbench.score_run(migbench.Run(tmp_path / "faulty"))
    found = sum(each.outcome is Outcome.HIT for each in scored.samples)
    assert found < COSTLY * TOTAL
