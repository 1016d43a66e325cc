"""Threads for other people's code: every future ends, and no thread keeps anything from ending."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Iterator

import pytest

from migbench.errors import ModelError
from migbench.util.daemon_threads import DaemonThreads, carried


@pytest.fixture
def threads() -> Iterator[DaemonThreads]:
    threads = DaemonThreads(2, "test")
    yield threads
    threads.shutdown()


def test_it_gives_what_the_call_gives(threads: DaemonThreads) -> None:
    assert [future.result() for future in [threads.submit(pow, 2, n) for n in range(9)]] == [
        2**n for n in range(9)
    ]
    assert list(threads.map(str, range(3))) == ["0", "1", "2"]


def test_no_more_threads_run_than_wanted(threads: DaemonThreads) -> None:
    names = {
        future.result()
        for future in [
            threads.submit(lambda: (time.sleep(0.01), threading.current_thread().name)[1])
            for _ in range(8)
        ]
    }
    assert names == {"test-0", "test-1"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error",
    [
        StopIteration("none left"),
        StopAsyncIteration("none left"),
        asyncio.CancelledError("theirs"),
        concurrent.futures.CancelledError("theirs"),
        GeneratorExit("gone"),
        SystemExit(3),
        KeyboardInterrupt("in a thread"),
        ValueError("wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_call_raises_reaches_who_waits(error: BaseException) -> None:
    def fail() -> None:
        raise error

    threads = DaemonThreads(1, "test")
    loop = asyncio.get_running_loop()
    failing = loop.run_in_executor(threads, fail)
    (found,) = await asyncio.wait_for(asyncio.gather(failing, return_exceptions=True), 5)
    if isinstance(error, ValueError | StopAsyncIteration):
        assert found is error
    else:
        assert type(found) is ModelError
        assert type(error).__name__ in str(found)
        assert found.__cause__ is error
    assert await loop.run_in_executor(threads, str, 7) == "7"
    threads.shutdown()


def test_an_ordinary_error_is_carried_as_it_is() -> None:
    error = ValueError("wrong")
    assert carried(error) is error


def test_a_call_that_never_returns_is_left_behind() -> None:
    threads = DaemonThreads(1, "test")
    never = threading.Event()
    under_way, waiting = threads.submit(never.wait), threads.submit(str, 7)
    while not under_way.running():
        time.sleep(0.001)
    assert not threads.close(0.05, cancel=True)
    assert waiting.cancelled()
    never.set()
    assert threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(str, 7)
