"""The event loop of a run: only the run's own end, or the user, ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from migbench.errors import AdapterError, Interrupted, ModelError
from migbench.models.event_loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    with EventLoop() as loop:
        yield loop


async def exits() -> None:
    raise SystemExit("from a task")


async def disturbed_by_a_task() -> None:
    await asyncio.gather(exits(), return_exceptions=True)


async def disturbed_by_a_callback() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, "from a callback")
    await asyncio.sleep(0.01)


async def stopped() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("disturb", [disturbed_by_a_task, disturbed_by_a_callback, stopped])
def test_it_runs_until_the_run_is_over(
    loop: EventLoop, disturb: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> str:
        await disturb()
        return "over"

    assert loop.run(main()) == "over"


def test_what_the_run_raises_is_raised(loop: EventLoop) -> None:
    async def main() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        loop.run(main())


def test_an_exit_of_the_runs_own_is_raised_too(loop: EventLoop) -> None:
    with pytest.raises(SystemExit, match="from a task"):
        loop.run(exits())


def test_an_exhausted_iterator_in_a_thread_leaves_nobody_waiting(loop: EventLoop) -> None:
    def exhausted() -> int:
        return next(iter([]))

    async def main() -> list[Any]:
        running = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as theirs:
            return await asyncio.gather(
                asyncio.to_thread(exhausted),
                running.run_in_executor(None, exhausted),
                running.run_in_executor(theirs, exhausted),
                return_exceptions=True,
            )

    found = loop.run(main())
    assert [(type(each), str(each)) for each in found] == [(ModelError, "StopIteration")] * 3


def test_a_run_that_somebody_else_cancels_has_not_ended_well(loop: EventLoop) -> None:
    async def main() -> None:
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(60)

    with pytest.raises(AdapterError, match="has cancelled all tasks"):
        loop.run(main())


def test_ctrl_c_cancels_the_run_and_lets_it_end_in_order(loop: EventLoop) -> None:
    seen = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    with pytest.raises(Interrupted):
        loop.run(main())
    assert seen == ["closed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_reaches_a_loop_that_is_kept_busy(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migbench.models.event_loop.STOPPING_SECONDS", 0.05)

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.01)

    with pytest.raises(Interrupted):
        loop.run(main())


def test_a_thread_that_never_ends_does_not_hold_up_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, never.wait)
        await asyncio.sleep(0.01)

    began = time.monotonic()
    with EventLoop() as loop:
        loop.run(main())
    assert time.monotonic() - began < 4
    never.set()


def test_it_runs_again_and_outside_of_the_main_thread() -> None:
    async def main() -> int:
        return 1

    with EventLoop() as loop:
        assert loop.run(main()) + loop.run(main()) == 2
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(loop.run, main()).result() == 1
