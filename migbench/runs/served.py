"""What servers say of themselves, kept in the manifest, and what has changed about them.

An adapter that asks servers says who they are by a coroutine ``about()``: facts by name, for each
server's address. It is asked when a run starts and when all is answered.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

from migbench.errors import AdapterError
from migbench.messages import Adapter
from migbench.models.boundary import Failure, called
from migbench.runs.run_log import RunLog
from migbench.util.redaction import redact

Servers = dict[str, dict[str, str]]
"""Facts by name for each server, by its address."""

_log = logging.getLogger(__name__)

_OF_REPLIES = frozenset({"system_fingerprint", "model_in_replies"})
"""Facts that are known only once there are replies."""

_LONGEST = 120.0
"""Seconds that an adapter may take to say who its servers are."""

_SINCE_EARLIER = "since the run's earlier answers"

_OF_THE_MODEL = ("model", "root", "model_path", "parameters", "size")


class _Store(Protocol):
    """The part of a run's store that keeps what is said here."""

    def record_servers(self, servers: Servers) -> None: ...

    def earlier_servers(self) -> Servers: ...


class ServerRecord:
    """Keeps the account that an adapter's servers give of themselves, and warns of changes."""

    def __init__(self, adapter: Adapter, store: _Store, log: RunLog) -> None:
        """An adapter that knows of no servers leaves the store alone."""
        ask = getattr(adapter, "about", None)
        self._ask = ask if inspect.iscoroutinefunction(ask) else None
        self._store = store
        self._log = log
        self._earlier: Servers = {}
        self._at_start: Servers = {}

    async def start(self) -> None:
        """Ask them, keep it, and warn where earlier answers come from others.

        Raises `AdapterError` where they serve different models.
        """
        account = await self._account()
        if isinstance(account, AdapterError):
            raise account
        if account is None:
            return
        self._at_start = account
        self._earlier = self._store.earlier_servers()
        self._warn(_SINCE_EARLIER, self._earlier, self._at_start)
        self._store.record_servers(self._at_start)

    async def end(self) -> None:
        """Ask them again, keep it, and warn of what has changed meanwhile."""
        now = await self._account()
        if isinstance(now, AdapterError):  # All is answered: what is wrong with them now is told.
            _log.warning("%s", now)
        if now is None or isinstance(now, AdapterError):
            return
        self._warn("during the run", self._at_start, now)
        self._warn(_SINCE_EARLIER, self._earlier, now, _OF_REPLIES)
        self._store.record_servers({**self._at_start, **now})

    async def _account(self) -> Servers | AdapterError | None:
        """What the adapter says of its servers; None where it knows of none, or cannot say it."""

        async def account() -> Servers | AdapterError | None:
            try:
                return _plain(await self._ask()) if self._ask else None
            except AdapterError as error:
                return error

        told = await called(account, _LONGEST)
        if isinstance(told, Failure):
            _log.warning("the adapter cannot say which servers it asks: %s", told.message)
            self._log.trouble("asking which servers there are", told)
            return None
        return told

    @staticmethod
    def _warn(
        when: str, before: Servers, now: Servers, names: frozenset[str] = frozenset()
    ) -> None:
        for change in changes(before, now):
            if not names or change[1] in names:
                _log.warning(
                    "%s has changed %s: %s was %s, and is %s", change[0], when, *change[1:]
                )


def changes(before: Servers, now: Servers) -> Iterator[tuple[str, str, str, str]]:
    """What is another now: address, the fact's name, what it was and what it is.

    A server at a new address is held against those that there were before, by its model alone.
    """
    for address, facts in now.items():
        if address in before:
            known = before[address]
            for name in sorted(known.keys() & facts.keys()):
                if known[name] != facts[name]:
                    yield address, name, known[name], facts[name]
        elif before:
            for name in _OF_THE_MODEL:
                were = {each[name] for each in before.values() if name in each}
                if name in facts and were and facts[name] not in were:
                    yield address, name, ", ".join(sorted(were)), facts[name]


def _plain(told: Mapping[str, Mapping[str, str]]) -> Servers:
    """The account as plain texts without secrets."""
    return {
        redact(str(address)): {str(name): redact(str(fact)) for name, fact in facts.items()}
        for address, facts in told.items()
    }
