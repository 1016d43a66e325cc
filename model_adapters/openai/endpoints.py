"""One of the servers that share a run: its slots, and whether it is well.

A failure is a number of strikes against the endpoint that it happened at. At three in a row, with
no answer in between, the endpoint is set aside for a while, then tried with a single request: if
that fails, it is set aside for twice as long. An answer makes it well at once.
"""

from __future__ import annotations

import logging

from migbench.messages import ModelError, redact
from model_adapters.openai.backoff import Backoff

STRIKES_OUT = 3
"""Strikes in a row at which an endpoint is set aside."""

_log = logging.getLogger(__name__)

_FIRST_REST = 2.0
"""Seconds, jitter apart, for which an endpoint is set aside first."""


class AttemptFailed(ModelError):
    """One attempt at one endpoint failed.

    ``passes`` tells whether another attempt is worth making; the server asked for a wait of
    ``retry_after`` seconds. ``strikes`` is what it says about the endpoint: 0 nothing, it may be
    the request's own fault alone; `STRIKES_OUT` that no request would fare better.
    ``no_connection``: nothing listens there. ``no_backend``: somebody does, and says that the
    server is not there now (502, 503, 504).
    """

    def __init__(
        self,
        message: str,
        *,
        passes: bool = False,
        strikes: int = 0,
        retry_after: float = 0.0,
        no_connection: bool = False,
        no_backend: bool = False,
    ) -> None:
        super().__init__(message)
        self.no_connection = no_connection
        self.no_backend = no_backend
        self.passes = passes
        self.strikes = strikes
        self.retry_after = retry_after


class Endpoint:
    """A server at ``url`` that is sent up to ``slots`` requests at once.

    ``longest_rest`` is the longest time, in seconds, for which it is set aside. Times are those of
    the event loop's clock.
    """

    def __init__(self, url: str, *, slots: int, longest_rest: float) -> None:
        self.url = url
        self.slots = slots
        self.under_way = 0
        self.served = 0
        self.moved_away = 0
        self.rests_until: float | None = None
        self.answered_at = 0.0
        self._set_aside_at = 0.0
        self._strikes = 0
        self._rests_in_a_row = 0
        self._times_set_aside = 0
        self._last_reason = ""
        self._rest = Backoff(first=_FIRST_REST, longest=longest_rest)

    @property
    def is_well(self) -> bool:
        """Whether it is not set aside."""
        return self.rests_until is None

    def room(self, now: float, *, any_well: bool) -> int:
        """How many more requests it may be sent; none is well unless ``any_well``.

        Where no endpoint is well none is better than another, and all are used.
        """
        limit = self.slots
        if any_well and self.rests_until is not None:
            limit = 1 if now >= self.rests_until else 0
        return limit - self.under_way

    def answered(self, now: float) -> None:
        """It is well: it gave an answer, or had a reason of the request's own not to."""
        self.answered_at = now
        self._strikes = 0
        self._rests_in_a_row = 0
        self.rests_until = None

    def failed(self, failure: AttemptFailed, *, began: float, now: float) -> None:
        """Count the failure of an attempt begun at ``began``, and rest if it is one too many."""
        if not self.is_well and began < self._set_aside_at:
            return  # It fell with the failure that is counted already.
        self._strikes += failure.strikes
        if self._strikes < STRIKES_OUT:
            return
        self._times_set_aside += self.is_well
        if self._times_set_aside == 1 and self.is_well:
            # Told once while it happens; how often it did is told at the end.
            _log.warning("%s; it is set aside, and tried again later", failure)
        self._last_reason = str(failure)
        self.rests_until = now + self._rest.seconds(self._rests_in_a_row)
        self._set_aside_at = now
        self._rests_in_a_row += 1

    def report(self) -> None:
        """Warn of what went wrong here, if anything did."""
        if self._times_set_aside:
            _log.warning(
                "%s was set aside %d times%s; %d requests moved elsewhere; last reason: %s",
                redact(self.url),
                self._times_set_aside,
                "" if self.is_well else " and did not come back",
                self.moved_away,
                self._last_reason,
            )
