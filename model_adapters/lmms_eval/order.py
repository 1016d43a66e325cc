"""Makes sure that answers come back in the order of their requests, and errors as errors.

lmms-eval matches answers to requests by their place in a list alone, and its classes reorder the
list inside, to batch what is alike, or answer it in threads. One that forgot to restore the order
would give every question another one's answer. So requests are asked one by one, and whole lists
beside that, forwards and backwards, until enough of these lists were answered like their parts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from migbench.messages import Answer, ModelError, Request, describe

__all__ = ["InOrder"]

EVIDENCE = 16
"""Different answers that must have come back in their places before lists are trusted."""
ATTEMPTS = 8
"""Lists answered otherwise than their parts, after which requests are asked alone for good."""

Outcome = Answer | ModelError

FAILURES = (BaseException,)
"""Whatever a third party's class raises in its thread; some of lmms-eval's leave by SystemExit."""

_log = logging.getLogger(__name__)


class Answering(Protocol):
    """What answers a list of requests, or raises."""

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request."""


class InOrder:
    """Answers requests together once the class has shown that it keeps their order."""

    def __init__(self, model: Answering, name: str) -> None:
        self._model = model
        self._name = name
        self._mixed = False
        self._inconclusive = 0
        self._evidence: Counter[frozenset[str]] = Counter()
        """How many different answers kept their places, by what their requests differed in."""

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request, in their order. None is an answer once the order was mixed."""
        if self._mixed:
            error = ModelError(
                f"lmms-eval's {self._name} gives its answers in another order than its requests; "
                "hand it one at a time: --model-arg at_once=1 --model-arg batch_size=1"
            )
            return [error] * len(requests)
        trusted = self._is_trusted_with(requests)
        if trusted and len(requests) > 1:
            try:
                return self._model.answer(requests)
            # One of them may be to blame, and must not sink the others.
            except FAILURES as error:
                _log.info(
                    "%s failed on a list (%s); asking one by one", self._name, describe(error)
                )
        outcomes = [self._alone(request) for request in requests]
        if not trusted and self._inconclusive < ATTEMPTS:
            self._compare(requests, outcomes)
        return outcomes

    def _is_trusted_with(self, requests: Sequence[Request]) -> bool:
        """By the lists that differed in all that these requests differ in."""
        differ = _differences(requests)
        return sum(self._evidence[known] for known in self._evidence if differ <= known) >= EVIDENCE

    def _alone(self, request: Request) -> Outcome:
        try:
            (outcome,) = self._model.answer([request])
        except ModelError as error:
            return error
        except FAILURES as error:
            return ModelError(describe(error))
        return outcome

    def _compare(self, requests: Sequence[Request], alone: Sequence[Outcome]) -> None:
        """Ask together what was answered alone; answers that are all the same show no order."""
        answered = [
            (request, outcome.text)
            for request, outcome in zip(requests, alone, strict=True)
            if isinstance(outcome, Answer)
        ]
        different = len({text for _, text in answered})
        if different < 2:
            return
        for order in (answered, answered[::-1]):
            expected = [text for _, text in order]
            given = self._together([request for request, _ in order])
            if given == expected:
                continue
            if sorted(given) == sorted(expected):
                self._mixed = True
                return
            self._inconclusive += 1
            if self._inconclusive == ATTEMPTS:
                _log.warning(
                    "%s answers otherwise when asked together; it is asked one by one", self._name
                )
            return
        self._evidence[_differences([request for request, _ in answered])] += different

    def _together(self, requests: Sequence[Request]) -> list[str]:
        """The texts of a list's answers; none where it failed."""
        try:
            outcomes = self._model.answer(requests)
        except FAILURES:
            return []
        return [outcome.text for outcome in outcomes if isinstance(outcome, Answer)]


def _differences(requests: Sequence[Request]) -> frozenset[str]:
    """In which respects, by any of which a class may sort them, some requests differ."""
    texts = {request.text() for request in requests}
    kinds = {
        "text": len(texts),
        "length": len({len(text) for text in texts}),
        "images": len({len(request.images) for request in requests}),
    }
    return frozenset(respect for respect, kind in kinds.items() if kind > 1)
