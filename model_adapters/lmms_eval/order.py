"""Makes sure that answers come back in the order of their requests, and errors as errors.

lmms-eval matches answers to requests by their place in a list alone, and its classes reorder the
list inside, to batch what is alike. One that forgot to restore the order would give every question
another one's answer. So requests are asked alone until two of them, together and in either order,
were given the answers that each was given alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum, auto
from itertools import combinations
from typing import Protocol

from migbench.messages import Answer, ModelError, Request

__all__ = ["InOrder"]

ATTEMPTS = 8
"""Proofs without a result after which requests are asked alone for good."""

Outcome = Answer | ModelError

FAILURES = (Exception, SystemExit)
"""Whatever a third party's class raises; some of lmms-eval's leave with SystemExit."""

_log = logging.getLogger(__name__)


class Answering(Protocol):
    """What answers a list of requests, or raises."""

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request."""


class Order(Enum):
    """What is known of a class."""

    UNKNOWN = auto()
    KEPT = auto()
    MIXED = auto()


class InOrder:
    """Answers requests together once the class has proven that it keeps their order."""

    def __init__(self, model: Answering, name: str) -> None:
        self._model = model
        self._name = name
        self._order = Order.UNKNOWN
        self._attempts = 0

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request, in their order. None is an answer once the order was mixed."""
        if self._order is Order.MIXED:
            error = ModelError(
                f"lmms-eval's {self._name} gives its answers in another order than its requests; "
                "hand it one at a time: --model-arg at_once=1 --model-arg batch_size=1"
            )
            return [error] * len(requests)
        if self._order is Order.KEPT and len(requests) > 1:
            try:
                return self._model.answer(requests)
            # One of them may be to blame, and must not sink the others.
            except FAILURES as error:
                _log.info("%s failed on a list (%s); asking one by one", self._name, error)
        outcomes = [self._alone(request) for request in requests]
        if self._order is Order.UNKNOWN and self._attempts < ATTEMPTS:
            self._prove(requests, outcomes)
        return outcomes

    def _alone(self, request: Request) -> Outcome:
        try:
            (outcome,) = self._model.answer([request])
        except ModelError as error:
            return error
        except FAILURES as error:
            return ModelError(f"{type(error).__name__}: {error}"[:500])
        return outcome

    def _prove(self, requests: Sequence[Request], alone: Sequence[Outcome]) -> None:
        """Ask two together that differ in text and answer: what is alike shows no order."""
        answered = [
            (request, outcome.text)
            for request, outcome in zip(requests, alone, strict=True)
            if isinstance(outcome, Answer)
        ]
        pairs = (
            pair
            for pair in combinations(answered, 2)
            if pair[0][0].text() != pair[1][0].text() and pair[0][1] != pair[1][1]
        )
        if (pair := next(pairs, None)) is None:
            return
        self._attempts += 1
        both = [self._given(pair), self._given(pair[::-1])]
        asked = [[text for _, text in order] for order in (pair, pair[::-1])]
        if any(given == texts[::-1] for given, texts in zip(both, asked, strict=True)):
            self._order = Order.MIXED
        elif both == asked:
            self._order = Order.KEPT
        elif self._attempts == ATTEMPTS:
            _log.warning(
                "%s answers differently when asked together; it is asked one by one", self._name
            )

    def _given(self, pair: Sequence[tuple[Request, str]]) -> list[str | None]:
        try:
            outcomes = self._model.answer([request for request, _ in pair])
        except FAILURES:
            return [None, None]
        return [outcome.text if isinstance(outcome, Answer) else None for outcome in outcomes]
