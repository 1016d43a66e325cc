"""Carrying out a plan from a program: also in a notebook, whose event loop runs already."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import migbench
from migbench.mini import render
from migbench.models.resolving import Overrides
from migbench.runs.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    render(tmp_path / "mini", per_task=2)
    model = migbench.resolve_model("whole-image")
    return migbench.make_plan(model, migbench.locate_data(tmp_path / "mini"))


@pytest.fixture
def slow(tmp_path: Path, plan: Plan) -> Plan:
    """The same questions for a model that answers one in a while."""
    adapter = tmp_path / "slow.py"
    adapter.write_text(
        "import asyncio\n"
        "class Slow:\n"
        "    needs_images = False\n"
        "    max_concurrency = 1\n"
        "    async def answer(self, request):\n"
        "        await asyncio.sleep(0.2)\n"
        "        return '(1,2),(3,4)'\n"
        "    async def close(self):\n"
        "        pass\n"
    )
    overrides = Overrides(adapter=f"{adapter}:Slow", dialect=migbench.find_dialect("qwen2-vl"))
    model = migbench.resolve_model("slow", overrides)
    return migbench.make_plan(model, migbench.locate_data(tmp_path / "mini"))


def test_it_works_where_a_loop_runs_already(plan: Plan, tmp_path: Path) -> None:
    async def cell_of_a_notebook() -> int:
        return migbench.execute(plan, tmp_path / "run").asked

    assert asyncio.run(cell_of_a_notebook()) > 0
    assert migbench.Run(tmp_path / "run").manifest.status == "complete"


def test_errors_come_through_from_there(plan: Plan, tmp_path: Path) -> None:
    async def cell_of_a_notebook() -> None:
        migbench.execute(plan, tmp_path / "mini")

    with pytest.raises(migbench.UsageError, match="is not empty and not a run"):
        asyncio.run(cell_of_a_notebook())


def test_the_async_form_leaves_the_loop_free(slow: Plan, tmp_path: Path) -> None:
    async def both() -> int:
        run = asyncio.create_task(migbench.execute_async(slow, tmp_path / "run"))
        turns = 0
        while not run.done():
            await asyncio.sleep(0.01)
            turns += 1
        await run
        return turns

    assert asyncio.run(both()) > 20
    assert migbench.Run(tmp_path / "run").manifest.status == "complete"


def test_cancelling_it_stops_the_run_with_all_stored(slow: Plan, tmp_path: Path) -> None:
    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await migbench.execute_async(slow, tmp_path / "run")

    asyncio.run(cancelled())
    run = migbench.Run(tmp_path / "run")
    assert run.manifest.status == "stopped"
    assert 0 < len(run.lines) < 20
    assert migbench.execute(slow, tmp_path / "run").failed == 0
    assert migbench.Run(tmp_path / "run").manifest.status == "complete"
