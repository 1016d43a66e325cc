"""Muon and AdamW as one optimiser."""

from __future__ import annotations

from typing import Any

import pytest

from migtrain.miniature.optimisers import make_optimiser
from migtrain.miniature.recipe import Optimiser

torch = pytest.importorskip("torch")


def make_model() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2)
        )


def run(model: torch.nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    inputs = torch.linspace(-1, 1, 12).reshape(3, 4)
    for _ in range(steps):
        optimiser.zero_grad()
        model(inputs).square().sum().backward()
        optimiser.step()


def make(model: torch.nn.Module) -> Any:
    choice = Optimiser(learning_rate=0.01, name="muon", beta2=0.98, weight_decay=0.01)
    return make_optimiser(choice, model)


def test_every_parameter_moves_and_matrices_are_muons() -> None:
    model = make_model()
    before = [each.clone() for each in model.parameters()]
    optimiser = make(model)
    run(model, optimiser, 1)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    vectors, matrices = optimiser.param_groups
    assert {each.ndim for each in matrices["params"]} == {2}
    assert {each.ndim for each in vectors["params"]} == {1}


def test_a_schedule_reaches_both() -> None:
    model = make_model()
    optimiser = make(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.0)
    before = [each.clone() for each in model.parameters()]
    run(model, optimiser, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert schedule.get_last_lr() == [0.0, 0.0]


def test_it_goes_on_from_its_state() -> None:
    whole = make_model()
    run(whole, make(whole), 4)
    first = make_model()
    optimiser = make(first)
    run(first, optimiser, 2)
    state = optimiser.state_dict()
    second = make_model()
    second.load_state_dict(first.state_dict())
    resumed = make(second)
    resumed.load_state_dict(state)
    run(second, resumed, 2)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True)
    )
