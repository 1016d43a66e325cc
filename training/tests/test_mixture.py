"""Mixtures keep exact proportions, and batches hold examples that are alike."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.errors import DataError, UsageError
from migtrain.miniature.batching import StepwiseOrder
from migtrain.miniature.mixture import Mixture, WeightedStage
from migtrain.miniature.recipe import find_recipe, recipe_names

TOY = str(Path(__file__).with_name("toy.yaml"))

STAGE_1 = {"s-understanding": 17, "s-grounding": 13, "m-understanding": 16, "m-grounding": 54}


def names(mixture: Mixture, places: range) -> Counter[str]:
    return Counter(mixture.draw(place).source for place in places)


def test_every_block_holds_table_12_exactly() -> None:
    mixture = Mixture([WeightedStage(1000, STAGE_1)], seed=3)
    for start in range(0, 1000, 100):
        assert names(mixture, range(start, start + 100)) == STAGE_1


shares = st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), min_size=1).filter(
    lambda found: any(found.values())
)


@given(
    stages=st.lists(st.builds(WeightedStage, st.integers(1, 40), shares), min_size=1, max_size=3),
    seed=st.integers(0, 9),
)
def test_every_source_is_drawn_in_order_and_nothing_twice(
    stages: list[WeightedStage], seed: int
) -> None:
    mixture = Mixture(stages, seed)
    draws = [mixture.draw(place) for place in range(len(mixture))]
    for source, found in itertools.groupby(sorted(draws), key=lambda draw: draw.source):
        assert [draw.number for draw in found] == list(range(mixture.totals()[source]))
    assert len(mixture) == sum(stage.examples for stage in stages) == len(draws)
    # Any place tells its draw by itself.
    again = Mixture(stages, seed)
    assert [again.draw(place) for place in reversed(range(len(again)))] == draws[::-1]


def test_the_order_depends_on_the_seed() -> None:
    orders = {
        tuple(
            Mixture([WeightedStage(100, STAGE_1)], seed).draw(place).source for place in range(100)
        )
        for seed in range(5)
    }
    assert len(orders) == 5


@pytest.mark.parametrize("shares", [{"a": 0}, {"a": 2, "b": -1}])
def test_impossible_shares_are_refused(shares: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="whole numbers from 0 on"):
        Mixture([WeightedStage(10, shares)], 0)


def test_there_is_nothing_after_the_end() -> None:
    with pytest.raises(IndexError):
        Mixture([WeightedStage(10, {"a": 1})], 0).draw(10)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=12, max_size=12),
    batch=st.sampled_from([1, 3, 4, 12]),
)
def test_steps_keep_their_examples_and_are_sorted(sizes: list[int], batch: int) -> None:
    order = list(StepwiseOrder(12 // batch, batch, lambda place: (sizes[place], "")))
    for start in range(0, 12, batch):
        step = order[start : start + batch]
        assert sorted(step) == list(range(start, start + batch))
        assert [sizes[place] for place in step] == sorted(sizes[place] for place in step)


# Recipes


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_are_sound(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.steps == sum(stage.steps for stage in recipe.stages)
    assert {name for each in recipe.stages for name in each.shares} == set(recipe.sources)


@given(steps=st.integers(4, 30_000))
def test_other_lengths_keep_the_phases_proportions(steps: int) -> None:
    recipe = find_recipe(TOY)
    scaled = recipe.with_steps(steps)
    assert scaled.steps == steps
    for stage, original in zip(scaled.stages, recipe.stages, strict=True):
        assert stage.steps >= 1
        assert abs(stage.steps - original.steps * steps / recipe.steps) <= 2
        assert stage.shares == original.shares


def test_fewer_steps_than_phases_are_refused() -> None:
    with pytest.raises(UsageError, match="has 2 stages"):
        find_recipe(TOY).with_steps(1)


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(UsageError, match="mini-stage1"):
        find_recipe("maxi")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("  size: 4", "multiple of 'batch.per_device'"),
        ("  rate: 3", "rate"),
        ("other: 1", "other"),
    ],
)
def test_a_wrong_recipe_names_file_and_field(tmp_path: object, change: str, message: str) -> None:
    path = f"{tmp_path}/mine.yaml"
    text = (
        "title: mine\nmodel: {checkpoint: a}\nsources: {a: {from: scenes, task: diff}}\n"
        "stages: [{steps: 1, shares: {a: 1}}]\noptimiser: {learning_rate: 1}\nmax_tokens: 9\n"
        f"batch:\n  per_device: 3\n{change if change.startswith(' ') else '  size: 3'}\n"
        f"{'' if change.startswith(' ') else change}"
    )
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)
    with pytest.raises(DataError, match=message) as caught:
        find_recipe(path)
    assert path in str(caught.value)
