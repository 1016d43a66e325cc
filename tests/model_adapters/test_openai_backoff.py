"""How long a busy server is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.openai.backoff import Backoff, retry_after_seconds


def test_waits_double_within_their_jitter() -> None:
    backoff = Backoff(first=1.0, longest=1000.0)
    for attempt in range(8):
        assert 0.5 * 2**attempt <= backoff.seconds(attempt) <= 2**attempt


def test_jitter_is_seeded_and_spreads_requests_that_failed_together() -> None:
    one, same = Backoff(first=1.0, longest=60.0), Backoff(first=1.0, longest=60.0)
    waits = [one.seconds(0) for _ in range(20)]
    assert waits == [same.seconds(0) for _ in range(20)]
    assert len(set(waits)) == 20


def test_the_servers_wish_is_a_minimum_and_the_longest_wait_a_bound() -> None:
    backoff = Backoff(first=1.0, longest=60.0)
    assert 20.5 <= backoff.seconds(0, retry_after=20.0) <= 21.0
    assert backoff.seconds(0, retry_after=86400.0) == 60.0
    assert backoff.seconds(100) == 60.0


@given(st.text())
def test_no_header_raises_and_no_wait_is_without_bound(header: str) -> None:
    wait = Backoff(first=1.0, longest=60.0).seconds(0, retry_after_seconds(header))
    assert 0.5 <= wait <= 60.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:27:00 GMT", 0.0),
        # Beyond what dates and numbers can hold.
        ("Wed, 21 Oct 99999 07:28:30 GMT", 0.0),
        ("Wed, 21 Oct 99999999999999999999 07:28:30 GMT", 0.0),
        ("Mon, 01 Jan 0001 00:00:00 +9999", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 251956974659.0),
        ("Wed, 21 Oct 2015 07:28:30 +999999999999", 0.0),
        ("-0.5", 0.0),
        ("-inf", 0.0),
        ("inf", 0.0),
        ("1_000", 0.0),
        ("0x10", 0.0),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    now = datetime(2015, 10, 21, 7, 28, tzinfo=UTC)
    assert retry_after_seconds(header, now) == seconds
