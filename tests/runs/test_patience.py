"""A server that is down: one request tries again, all others wait, and no question is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_run_store import manifest
from test_runner import DIRECT, Scripted, instance, questions

from migbench.errors import ModelError, ServerDown
from migbench.messages import Answer, ImageFile, Request
from migbench.models.resolving import resolve_model
from migbench.runs import patience
from migbench.runs.opening import open_run
from migbench.runs.runner import Progress, Runner
from migbench.runs.store import Run


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.01)


class Server(Scripted):
    """An adapter whose server is up as often as ``states`` says, then always."""

    def __init__(self, states: Iterator[bool], reply: Callable[[Request], str]) -> None:
        super().__init__(reply, max_concurrency=4)
        self.states = states

    async def answer(self, request: Request) -> Answer:
        answer = await super().answer(request)
        if not next(self.states, True):
            raise ServerDown("nothing listens there")
        return answer


def asked(folder: Path, server: Server, seconds: float = 60.0) -> tuple[Progress, list[object]]:
    told: list[object] = []
    progress = Progress(on_down=lambda reason, pause, left: told.append(reason))
    with open_run(folder, manifest(model=resolve_model("whole-image"))) as store:
        runner = Runner(store, server, DIRECT, ImageFile, progress=progress, patience=seconds)
        asyncio.run(runner.run(questions(*map(instance, range(12)))))
    return progress, told


def test_a_server_that_comes_back_costs_nothing(tmp_path: Path) -> None:
    up_down_up = iter([True] * 3 + [False] * 9)
    server = Server(up_down_up, lambda request: "said")
    progress, told = asked(tmp_path, server)
    assert {line.text for line in Run(tmp_path).lines.values()} == {"said"}
    assert (progress.failed, progress.gave_up) == (0, False)
    assert told[0] == "nothing listens there"
    assert told[-1] is None
    # Four at once find it down, and one of them tries again until it is up.
    assert len(server.asked) == 12 + 9


def test_a_run_whose_server_stays_down_stops_and_records_no_failure(tmp_path: Path) -> None:
    server = Server(iter([True] * 3 + [False] * 1000), lambda request: "said")
    progress, _ = asked(tmp_path, server, seconds=0.1)
    assert progress.gave_up
    assert progress.out_of_patience
    assert progress.last_error == "nothing listens there"
    lines = Run(tmp_path).lines.values()
    assert (len(lines), {line.error for line in lines}) == (3, {None})
    # Of those under way at once nobody but one has tried twice.
    assert len(server.asked) < 3 + 4 + 20


def test_another_failure_shows_that_it_is_back(tmp_path: Path) -> None:
    def refuses(request: Request) -> str:
        raise ModelError("400: bad request")

    class Refusing(Server):
        async def answer(self, request: Request) -> Answer:
            if not next(self.states, True):
                raise ServerDown("nothing listens there")
            return Answer(refuses(request))

    progress, told = asked(tmp_path, Refusing(iter([False] * 5), refuses))
    assert (progress.failed, progress.out_of_patience, told[-1]) == (12, False, None)
