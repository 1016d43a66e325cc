"""Requests that are under way for long are named, whatever keeps the program busy."""

from __future__ import annotations

import time

from migbench.runs.watchdog import Watchdog


def wait_for(count: int, found: list[tuple[str, float]]) -> None:
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)  # As an adapter does that keeps the event loop busy.


def test_a_request_is_named_when_it_is_slow_and_again_at_twice_the_time() -> None:
    found: list[tuple[str, float]] = []
    with (
        Watchdog(0.05, lambda question, seconds: found.append((question, seconds))) as watchdog,
        watchdog.request("diff-1"),
    ):
        with watchdog.request("diff-2"):
            pass
        wait_for(3, found)
    assert {question for question, _ in found} == {"diff-1"}
    first, second, third = (seconds for _, seconds in found[:3])
    assert first >= 0.05
    assert second >= 2 * first
    assert third >= 2 * second


def test_a_report_that_fails_costs_nothing() -> None:
    found: list[tuple[str, float]] = []

    def report(question: str, seconds: float) -> None:
        found.append((question, seconds))
        raise BrokenPipeError

    with Watchdog(0.02, report) as watchdog, watchdog.request("diff-1"):
        wait_for(2, found)
